"""What somebody is in a chat, as a ChatMember object, and what everybody there may do."""

from typing import Literal

from bot.sandbox.files import Raw

Status = Literal["creator", "administrator", "member", "restricted", "left", "kicked"]

# https://core.telegram.org/bots/api#chatpermissions
PERMISSIONS = (
    *("can_send_messages", "can_send_audios", "can_send_documents", "can_send_photos", "can_send_videos"),
    *("can_send_video_notes", "can_send_voice_notes", "can_send_polls", "can_send_other_messages"),
    *("can_add_web_page_previews", "can_react_to_messages", "can_edit_tag", "can_change_info", "can_invite_users"),
    *("can_pin_messages", "can_manage_topics"),
)
# https://core.telegram.org/bots/api#chatmemberadministrator: those that it always has, and those of groups
_RIGHTS = (
    *("can_be_edited", "is_anonymous", "can_delete_messages", "can_manage_video_chats", "can_restrict_members"),
    *("can_promote_members", "can_change_info", "can_invite_users", "can_post_stories", "can_edit_stories"),
    *("can_delete_stories", "can_pin_messages", "can_manage_topics"),
)


def chat_member(user: Raw, status: Status, permissions: Raw, **rights: bool | int) -> Raw:
    """A ChatMember, whole as https://core.telegram.org/bots/api#chatmember has it; `rights` are what differs.

    By default an administrator may nothing but be one, and who is restricted may what everybody may.
    """
    match status:
        case "creator":
            about: Raw = {"is_anonymous": False}
        case "administrator":
            about = dict.fromkeys(_RIGHTS, False) | {"can_manage_chat": True}
        case "restricted":
            about = {"is_member": True, **permissions, "until_date": 0}
        case "kicked":
            about = {"until_date": 0}
        case _:
            about = {}
    if unknown := rights.keys() - about.keys():
        raise ValueError(f"{status} has no {', '.join(sorted(unknown))}")
    return {"status": status, "user": user, **about, **rights}
