"""Requests as the manual page writes them, and what each answer means."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akool import Accepted, AkoolError, Fault, Video, VideoStatus, protocol
from akool.errors import (
    CODES,
    Busy,
    CreateFailed,
    InvalidInput,
    InvalidToken,
    MalformedAnswer,
    NotFound,
    OtherProduct,
    OutOfCredit,
    PermissionDenied,
    Refused,
    ServerError,
)
from akool.protocol import Request

SAMPLES = Path(__file__).parent / "samples" / "akool"
CREATE = protocol.create_talking_photo(talking_photo_url="https://x/p.jpg", audio_url="https://x/v.mp3")
LOOK = protocol.get_video("64dd90f9f0b6684651e90d60")
NO, UNKNOWN = Accepted.NO, Accepted.UNKNOWN

# The manual page's codes, then those of the global list.
MEANINGS: dict[type[AkoolError], tuple[int, ...]] = {
    InvalidInput: (1003, 1108, 1110, 1204, 1207, 1208, 1209),
    NotFound: (1008, 1014),
    CreateFailed: (1015, 1201, 1205),
    Busy: (1005,),
    OutOfCredit: (1006, 1103, 1104),
    InvalidToken: (1101,),
    PermissionDenied: (1004, 1009, 1102, 1109, 1200, 1213, 1221),
    ServerError: (2001,),
    OtherProduct: (
        *(1007, 1010, 1011, 1013, 1016, 1017, 1105, 1111, 1112, 1202, 1203, 1206, 1210, 1211, 1212),
        *(1214, 1215, 1216, 1217, 1218, 1219, 1220, 1222, 1223),
    ),
}


def refusal(request: Request[Any], status: int = 200, body: object = None, **headers: str) -> AkoolError:
    """The error that an answer is deciphered to."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(AkoolError) as caught:
        protocol.decipher(request, status, headers, raw)
    return caught.value


def test_create_is_asked_for_as_in_the_manual() -> None:
    """Optional fields are left out, not sent empty; `webhookUrl` is AKOOL's spelling."""
    full = protocol.create_talking_photo(
        talking_photo_url="p", audio_url="a", webhook_url="w", prompt="wave", resolution="720"
    )

    assert (CREATE.method, CREATE.path) == ("POST", "/api/open/v3/content/video/createbytalkingphoto")
    assert CREATE.json == {"talking_photo_url": "https://x/p.jpg", "audio_url": "https://x/v.mp3"}
    assert full.json == {
        "talking_photo_url": "p",
        "audio_url": "a",
        "webhookUrl": "w",
        "prompt": "wave",
        "resolution": "720",
    }


def test_questions_are_asked_as_in_the_manual() -> None:
    """The video by its `_id`, the balance, and the token by both credentials."""
    token, credit = protocol.get_token("id", "secret"), protocol.get_credit()

    assert (LOOK.method, LOOK.path) == ("GET", "/api/open/v3/content/video/infobymodelid")
    assert LOOK.params == {"video_model_id": "64dd90f9f0b6684651e90d60"}
    assert (credit.method, credit.path) == ("GET", "/api/open/v3/faceswap/quota/info")
    assert (token.method, token.path) == ("POST", "/api/open/v3/getToken")
    assert token.json == {"clientId": "id", "clientSecret": "secret"}


@pytest.mark.parametrize("request_", [CREATE, protocol.get_token("cl13nt", "s3cret")])
def test_a_request_shows_no_secret(request_: Request[Any]) -> None:
    """Neither the signed URLs nor the client secret appear in its repr."""
    assert not {"https", "cl13nt", "s3cret"} & set(repr(request_).replace("'", " ").replace(":", " ").split())


def test_what_create_answers() -> None:
    """The job's key is `data._id`."""
    created = protocol.decipher(CREATE, 200, {}, (SAMPLES / "created.json").read_bytes())

    assert created == Video("64dd90f9f0b6684651e90d60", VideoStatus.QUEUEING)


@pytest.mark.parametrize("status", [200, 201, 404, 500])
def test_success_is_the_code_and_nothing_else(status: int) -> None:
    """Neither the HTTP status nor `msg` decides; and beside a paid `_id` nothing else matters."""
    body = b'{"code": 1000, "msg": "Please be patient!", "data": {"_id": "64dd", "video_status": "odd", "video": 7}}'

    assert protocol.decipher(CREATE, status, {}, body).id == "64dd"


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in MEANINGS.items() for code in codes])
def test_every_code_has_its_class(kind: type[AkoolError], code: int) -> None:
    """A refusal in AKOOL's own words is sure, but for a fault of its server; a question costs nothing either way."""
    body = {"code": code, "msg": "create video error"}
    asked, created = refusal(LOOK, 200, body), refusal(CREATE, 500, body)

    assert (type(asked), asked.accepted) == (kind, NO)
    assert type(created) is (InvalidInput if kind is NotFound else kind)
    assert created.accepted is (UNKNOWN if kind is ServerError else NO)
    assert (created.code, created.http_status, created.msg) == (code, 500, "create video error")


def test_no_code_is_forgotten() -> None:
    """The table above and the package's have the same codes, the manual page's among them."""
    assert {code for codes in MEANINGS.values() for code in codes} == set(CODES)
    assert set(CODES) >= {1003, 1008, 1009, 1015, 1101, 1102, 1200, 1201}


@pytest.mark.parametrize(
    ("status", "body", "kind", "accepted"),
    [
        (429, b"slow down", Busy, NO),
        (429, {"code": 1005}, Busy, NO),
        (503, b"<html>", Busy, NO),
        (503, {"code": 2001}, Busy, NO),
        (500, b"", ServerError, UNKNOWN),
        (500, {"code": 500}, ServerError, UNKNOWN),
        (500, {"code": 2001}, ServerError, UNKNOWN),
        (502, b"<html>", ServerError, UNKNOWN),
        (504, b"<html>", ServerError, UNKNOWN),
        (524, b"<html>", ServerError, UNKNOWN),
        (400, {"message": "no"}, Refused, NO),
        (401, b"", InvalidToken, NO),
        (401, {"code": 1102}, PermissionDenied, NO),
        (403, b"<html>", PermissionDenied, NO),
        (404, {"status": 404, "msg": "Not Found"}, Refused, NO),
        (302, b"", Refused, NO),
        (200, {"code": 1999}, Refused, NO),
        (200, {"status": 404, "msg": "Not Found"}, MalformedAnswer, UNKNOWN),
        (200, b"", MalformedAnswer, UNKNOWN),
        (200, b"<html>OK</html>", MalformedAnswer, UNKNOWN),
        (200, b"\xff\xfe", MalformedAnswer, UNKNOWN),
        (200, b"[" * 100_000, MalformedAnswer, UNKNOWN),
        (200, [{"code": 1000}], MalformedAnswer, UNKNOWN),
        (200, {"code": "1000"}, MalformedAnswer, UNKNOWN),
        (200, {"code": True}, MalformedAnswer, UNKNOWN),
        (200, b'{"code": 1e999}', MalformedAnswer, UNKNOWN),
        (200, b'{"code": 1000, "data": {"_id": NaN}}', MalformedAnswer, UNKNOWN),
        (200, {"code": 1000}, MalformedAnswer, UNKNOWN),
        (200, {"code": 1000, "data": None}, MalformedAnswer, UNKNOWN),
        (200, {"code": 1000, "data": {"_id": ""}}, MalformedAnswer, UNKNOWN),
        (200, {"code": 1000, "data": {"task_id": "64dd"}}, MalformedAnswer, UNKNOWN),
    ],
)
def test_what_an_answer_to_create_means(status: int, body: object, kind: type, accepted: Accepted) -> None:
    """Only a readable refusal, or one at the door, is surely none of our credits."""
    error = refusal(CREATE, status, body)

    assert (type(error), error.accepted) == (kind, accepted)
    assert refusal(LOOK, status, body).accepted is NO


@pytest.mark.parametrize(("code", "fault"), [(1003, Fault.INPUT), (1006, Fault.OPERATOR), (1015, Fault.AKOOL)])
def test_an_error_says_who_must_act(code: int, fault: Fault) -> None:
    assert refusal(CREATE, 200, {"code": code}).fault is fault


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (LOOK, {"code": 1000, "data": {"_id": "64dd"}}),
        (LOOK, {"code": 1000, "data": {"video_status": "3"}}),
        (protocol.get_credit(), {"code": 1000, "data": {"credit": "7"}}),
        (protocol.get_token("id", "secret"), {"code": 1000, "data": {"token": "abc"}}),
        (protocol.get_token("id", "secret"), {"code": 1000, "token": ""}),
        (protocol.get_token("id", "secret"), {"code": 1000, "token": "a\r\nx-evil: 1"}),
        (protocol.get_token("id", "secret"), {"code": 1000, "token": "töken"}),
    ],
)
def test_a_success_that_makes_no_sense(request_: Request[Any], body: object) -> None:
    """It is told apart from a refusal; and since the question costs nothing, nothing was accepted."""
    error = refusal(request_, 200, body)

    assert (type(error), error.accepted, error.code) == (MalformedAnswer, NO, 1000)


def test_the_balance_is_a_number_of_credits() -> None:
    assert protocol.decipher(protocol.get_credit(), 200, {}, b'{"code":1000,"msg":"OK","data":{"credit":0}}') == 0


def test_the_token_stands_at_the_top_level() -> None:
    body = b'{"code": 1000, "token": "xxxxxxxxxxxxxxxx"}'

    assert protocol.decipher(protocol.get_token("id", "secret"), 200, {}, body) == "xxxxxxxxxxxxxxxx"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("999999999", 3600),
        ("Tue, 01 Sep 2026 10:00:30 GMT", 30),
        ("Tue, 01 Sep 2026 09:00:00 GMT", 0),
        ("Tue, 01 Sep 2026 10:00:30 -0000", None),
        ("-7", None),
        ("soon", None),
        ("\u0667", None),
        ("9" * 5000, None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    """Within an hour; anything else is no advice."""
    headers = {"retry-after": value, "date": "Tue, 01 Sep 2026 10:00:00 GMT"}

    assert refusal(CREATE, 429, b"", **headers).retry_after_seconds == seconds


def test_a_date_alone_is_no_advice() -> None:
    """Without the answer's own date, nobody knows how far away it is."""
    headers = {"retry-after": "Tue, 01 Sep 2026 10:00:30 GMT"}

    assert refusal(CREATE, 429, b"", **headers).retry_after_seconds is None


def test_a_vendors_message_is_one_line_that_can_be_logged() -> None:
    assert refusal(CREATE, 200, {"code": 1015, "msg": "try\nlater\ud800" + "x" * 9999}).msg == "try later " + "x" * 290


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["_id", "video", "video_status", "credit", "msg"]), children, max_size=5)
    ),
    max_leaves=9,
)
answers = st.fixed_dictionaries(
    {"code": st.sampled_from([1000, 1101, 1015]) | json_values, "data": json_values},
    optional={"token": json_values, "msg": json_values},
)


@settings(max_examples=100, deadline=None)
@given(
    status=st.integers(200, 599),
    headers=st.fixed_dictionaries({}, optional={"retry-after": st.text(), "date": st.text()}),
    body=st.binary(max_size=99) | answers.map(lambda answer: json.dumps(answer).encode()),
)
def test_nothing_leaves_the_tree(status: int, headers: dict[str, str], body: bytes) -> None:
    """Whatever comes, a request has a result or an error of ours."""
    requests: list[Request[Any]] = [CREATE, LOOK, protocol.get_credit(), protocol.get_token("id", "secret")]
    for request in requests:
        try:
            protocol.decipher(request, status, headers, body)
        except AkoolError as error:
            assert str(error).isprintable()  # noqa: PT017 - either outcome is fine


def jwt(claims: bytes) -> str:
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.signature"


@pytest.mark.parametrize(
    ("token", "expiry"),
    [
        (jwt(b'{"iat": 1700000000, "exp": 1731536000}'), 1731536000),
        (jwt(b'{"id":"\xc3\xbf\xc3\xbf?>~","exp":1.5}'), 1.5),
        *((jwt(claims), math.inf) for claims in (b'{"exp": "soon"}', b'{"exp": NaN}', b"{}", b"[]", b"", b"\xff")),
        *((token, math.inf) for token in ("", "xxxxxxxxxxxxxxxx", "a.b", "a.b.c.d", "a.!.c", "..", "a.é.c")),
    ],
)
def test_the_expiry_of_a_token_is_read_where_it_is_a_jwt(token: str, expiry: float) -> None:
    """Any other token counts as lasting."""
    assert protocol.expires_at(token) == expiry
