"""Files that once broke a reader, which lie in the corpus beside the tests."""

import shutil

from helpers.fuzzing.child import outcome
from helpers.fuzzing.hunt import SOUND
from helpers.fuzzing.readers import READERS


def check_kept(name, path, folder):
    """A file of the corpus in the place of the valid one, which is read before: imports are not the file's."""
    READERS[name].make(folder)
    READERS[name].read(folder)
    place = folder / path.name.partition("--")[2].replace("+", "/")
    assert place.is_file(), f"{path.name}: the valid files of {name} have none of that name"
    shutil.copyfile(path, place)
    kind, said = outcome(READERS[name].read, folder)
    assert kind in SOUND, f"{kind}: {said}"
