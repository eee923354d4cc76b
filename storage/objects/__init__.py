"""Objects: photos, voices and videos, in a local folder or in S3, under keys that cannot be guessed."""

from storage.objects.local import LocalStore
from storage.objects.s3 import S3Store
from storage.objects.signing import MediaSigner, Verdict
from storage.objects.store import (
    ObjectMissing,
    ObjectStore,
    StoreError,
    StoreUnavailable,
    content_type,
    is_key,
    new_key,
)

__all__ = [
    "LocalStore",
    "MediaSigner",
    "ObjectMissing",
    "ObjectStore",
    "S3Store",
    "StoreError",
    "StoreUnavailable",
    "Verdict",
    "content_type",
    "is_key",
    "new_key",
]
