"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path and rename that file to `path`; a kill leaves the old file or the new one.

    The file gets the permissions of the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with open(temporary, "xb") as file:
        mode = os.fstat(file.fileno()).st_mode
    try:
        write(temporary)
        os.chmod(temporary, mode)  # `write` may have created the file anew
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
