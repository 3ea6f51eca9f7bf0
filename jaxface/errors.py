"""The one family of exceptions that a user's mistake raises; a bug is a traceback."""

from jaxface.names import printable


class JaxfaceError(Exception):
    """A user's mistake: one sentence saying what is wrong and what to do. Exit code 1.

    As text it is one line, whatever the names of files in it hold.
    """

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(JaxfaceError):
    """A path, file, value or option that cannot be used. Exit code 2."""

    exit_code = 2


class AssetError(JaxfaceError):
    """A missing or corrupted file of `pretrained/` or of the user's own. Exit code 3."""

    exit_code = 3


class DetectionError(JaxfaceError):
    """No face (or no usable one) in a photo. Exit code 4."""

    exit_code = 4


class Interrupted(JaxfaceError):
    """A run that its user stopped. Exit code 130."""

    exit_code = 130
