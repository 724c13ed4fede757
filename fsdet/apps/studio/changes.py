"""Changes between two states of a project, in words, and the photograph that they are about."""

from fsdet.apps.studio.project import Labels, Project


def changed_photo(before: Project, after: Project) -> str:
    """The key of the first photograph whose labels differ, or ""."""
    keys = (photo.key for photo in after.photos)
    return next((key for key in keys if before.of(key) != after.of(key)), "")


def difference(before: Project, after: Project) -> str:
    """What changed, as one sentence without a full stop."""
    if before.photos != after.photos:
        return f"{len(before.photos)} photographs became {len(after.photos)}"
    keys = [photo.key for photo in after.photos if before.of(photo.key) != after.of(photo.key)]
    if len(keys) > 1:
        return f"the labels of {len(keys)} photographs changed"
    if keys:
        old, new = _state(before.of(keys[0])), _state(after.of(keys[0]))
        return f"'{after.photo(keys[0]).name}' had {old}, and has {new}"
    if before.detector != after.detector:
        return "the detector was replaced"
    return "a confidence threshold changed"


def _state(labels: Labels) -> str:
    number, wrong = len(labels.boxes), len(labels.rejected)
    parts = [f"{number} {'box' if number == 1 else 'boxes'}"]
    parts += [f"{wrong} rejected"] * bool(wrong) + ["the mark 'complete'"] * labels.complete
    return ", ".join(parts)
