"""What can be asked of a data set beside the format of its pictures."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `data.load`.

    Attributes:
        split: Split of a tensorflow-datasets set, such as `"train"`; the
            others have none.
        directory: Where tensorflow-datasets keeps its data; None for its
            default.
        num_classes: Number of classes that the data must have; 0 for any.
        conditional: Whether every picture needs a label, for a conditional
            network: of two classes or more. Unequal ones are warned of, as
            its fake labels are uniform.
        streaming: Whether pictures of a folder are read each time they are
            needed, instead of all at once; they are the same.
        recursive: Whether pictures of a folder are also looked for in folders
            of folders. All below a class folder belong to its class, and all
            below a folder that itself holds pictures make one set without
            labels. Links to folders are followed at the top alone.
        on_bad_image: What to do about a picture that can't be read: `"raise"`,
            or `"skip"`: warn, and take the next of its class (of a folder) or
            leave it out (of a tensorflow-datasets set).
        progress: Whether to show a bar.
    """

    split: str = "train"
    directory: str | None = None
    num_classes: int = 0
    conditional: bool = False
    streaming: bool = False
    recursive: bool = False
    on_bad_image: Literal["raise", "skip"] = "raise"
    progress: bool = False
