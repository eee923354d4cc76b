"""Everything that can go wrong, as one tree, drawn with what each class says by itself.

                          who must act   retryable   accepted
    AkoolError
    ├── InvalidInput      INPUT          no          NO
    ├── NotFound          INPUT          yes         NO
    ├── CreateFailed      AKOOL          yes         NO
    ├── Busy              AKOOL          yes         NO
    ├── OutOfCredit       OPERATOR       no          NO
    ├── InvalidToken      OPERATOR       no          NO
    ├── PermissionDenied  OPERATOR       no          NO
    ├── Refused           OPERATOR       no          NO
    │   └── OtherProduct
    ├── ServerError       AKOOL          yes         UNKNOWN
    ├── MalformedAnswer   AKOOL          yes         UNKNOWN
    ├── NotSent           NETWORK        yes         NO
    ├── AnswerLost        NETWORK        yes         UNKNOWN
    └── InvalidCallback   OPERATOR       no          NO

UNKNOWN is only ever said of a request that AKOOL charges for; any other has nothing to accept.
"""

from enum import Enum
from types import MappingProxyType


class Fault(Enum):
    """Who must act."""

    INPUT = "input"  # whoever chose the photo, the sound or the id
    OPERATOR = "operator"  # whoever holds the AKOOL account and its keys
    AKOOL = "akool"
    NETWORK = "network"


class Accepted(Enum):
    """May AKOOL have accepted, and charged, the request?"""

    NO = "no"
    UNKNOWN = "unknown"


class AkoolError(Exception):
    """AKOOL did not do what it was asked."""

    fault = Fault.AKOOL
    retryable = False  # may the same request succeed later, with nothing changed? Repeat it only if not `accepted`
    accepted = Accepted.NO

    def __init__(
        self,
        detail: str = "",
        *,
        accepted: Accepted | None = None,
        code: int | None = None,
        http_status: int | None = None,
        msg: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """`detail` is our own word; `msg` is the vendor's, which is kept out of the message."""
        if accepted is not None:
            self.accepted = accepted
        self.code = code
        self.http_status = http_status
        self.msg = msg
        self.retry_after_seconds = retry_after_seconds
        facts = [
            detail,
            "" if code is None else f"code {code}",
            "" if http_status is None else f"HTTP {http_status}",
        ]
        super().__init__(": ".join(filter(None, [self.__doc__, ", ".join(filter(None, facts))])))

    @property
    def kind(self) -> str:
        """AKOOL's code where its manual has it, else the name of the class: one of a small set."""
        return str(self.code) if self.code in CODES else type(self).__name__


class InvalidInput(AkoolError):
    """AKOOL can't use what it was given"""

    fault = Fault.INPUT


class NotFound(AkoolError):
    """AKOOL does not know this video, or not yet"""

    fault = Fault.INPUT
    retryable = True


class CreateFailed(AkoolError):
    """AKOOL could not make a video, for the moment or because it could not fetch the files"""

    retryable = True


class Busy(AkoolError):
    """AKOOL asks to come back later"""

    retryable = True


class OutOfCredit(AkoolError):
    """The AKOOL account has no credits left"""

    fault = Fault.OPERATOR


class InvalidToken(AkoolError):
    """AKOOL does not know the key or the token, or no longer"""

    fault = Fault.OPERATOR


class PermissionDenied(AkoolError):
    """The AKOOL account may not do this"""

    fault = Fault.OPERATOR


class Refused(AkoolError):
    """AKOOL refused, for a reason that its manual does not tell"""

    fault = Fault.OPERATOR


class OtherProduct(Refused):
    """AKOOL refused, for a reason that belongs to another of its products"""


class ServerError(AkoolError):
    """AKOOL had a fault of its own"""

    retryable = True
    accepted = Accepted.UNKNOWN


class MalformedAnswer(AkoolError):
    """AKOOL's answer can't be understood"""

    retryable = True
    accepted = Accepted.UNKNOWN


class NotSent(AkoolError):
    """AKOOL could not be reached"""

    fault = Fault.NETWORK
    retryable = True


class AnswerLost(AkoolError):
    """The connection to AKOOL broke before its answer was there"""

    fault = Fault.NETWORK
    retryable = True
    accepted = Accepted.UNKNOWN


class InvalidCallback(AkoolError):
    """This is no callback of our AKOOL account"""

    fault = Fault.OPERATOR


ABOUT_THE_ACCOUNT = (OutOfCredit, InvalidToken, PermissionDenied)
"""It is the account that is refused, so that every other job would be, too."""

# The manual page's "Response Code Description" and the global list, https://docs.akool.com/ai-tools-suite/error-code;
# the comments are AKOOL's words.
CODES: MappingProxyType[int, type[AkoolError]] = MappingProxyType(
    {
        1003: InvalidInput,  # Parameter error or Parameter can not be empty
        1004: PermissionDenied,  # Requires verification
        1005: Busy,  # Operation is too frequent
        1006: OutOfCredit,  # Your quota balance is not enough
        1007: OtherProduct,  # The number of people who can have their faces changed cannot exceed 8
        1008: NotFound,  # The content you get does not exist
        1009: PermissionDenied,  # You do not have permission to operate
        1010: OtherProduct,  # You can not operate this content
        1011: OtherProduct,  # You have operated this content
        1013: OtherProduct,  # Use audio in video
        1014: NotFound,  # Resource does not exist
        1015: CreateFailed,  # Create video error, please try again later
        1016: OtherProduct,  # Face swapping error
        1017: OtherProduct,  # Audio not created
        1101: InvalidToken,  # Invalid authorization or The request token has expired
        1102: PermissionDenied,  # Authorization cannot be empty
        1103: OutOfCredit,  # Not paid or payment is overdue
        1104: OutOfCredit,  # Insufficient credit balance
        1105: OtherProduct,  # avatar processing error
        1108: InvalidInput,  # image processing error
        1109: PermissionDenied,  # account not exist
        1110: InvalidInput,  # audio processing error
        1111: OtherProduct,  # avatar callback processing error
        1112: OtherProduct,  # voice processing error
        1200: PermissionDenied,  # The account has been banned
        1201: CreateFailed,  # Create audio error, please try again later
        1202: OtherProduct,  # Video lip sync same language out of range
        1203: OtherProduct,  # Using Video and Audio
        1204: InvalidInput,  # video duration exceed
        1205: CreateFailed,  # create video processing error
        1206: OtherProduct,  # background change processing error
        1207: InvalidInput,  # video size exceed
        1208: InvalidInput,  # video parsing error
        1209: InvalidInput,  # The video encoding format is not supported
        1210: OtherProduct,  # video fps exceed
        1211: OtherProduct,  # Creating lip sync errors
        1212: OtherProduct,  # Sentiment analysis fails
        1213: PermissionDenied,  # Requires subscription user to use
        1214: OtherProduct,  # liveAvatar in processing
        1215: OtherProduct,  # liveAvatar processing is busy
        1216: OtherProduct,  # liveAvatar session not exist
        1217: OtherProduct,  # liveAvatar callback error
        1218: OtherProduct,  # liveAvatar processing error
        1219: OtherProduct,  # liveAvatar closed
        1220: OtherProduct,  # liveAvatar upload avatar error
        1221: PermissionDenied,  # Account not subscribed
        1222: OtherProduct,  # Resource already exist
        1223: OtherProduct,  # liveAvatar upload exceed
        2001: ServerError,  # Server error: like HTTP 500, it does not tell at which step
    }
)
