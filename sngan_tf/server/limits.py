"""How much a request may ask for, and how long it may take."""

import dataclasses

from sngan_tf import images as images_lib


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        header_bytes: Of a request's line and headers.
        header_seconds: Until these are there, from the connection on.
        body_bytes: Of a request's body.
        body_seconds: Until it is there.
        answer_seconds: That an answer may stand still until its reader goes on.
        idle_seconds: That a connection stays open between requests.
        connections: At a time.
        queue: Requests that wait for the model.
        deadline: Seconds that a request may wait and be computed.
        batch: Rows that the model computes at once.
        pictures: Of 32 pixels in a request, fewer of larger ones.
        frames: Of an animation, one way.
        source_pixels: Of a picture to judge.
        drain_seconds: For what has come in before SIGTERM.
    """

    header_bytes: int = 16 * 2**10
    header_seconds: float = 10.0
    body_bytes: int = 8 * 2**20
    body_seconds: float = 10.0
    answer_seconds: float = 10.0
    idle_seconds: int = 15
    connections: int = 200
    queue: int = 64
    deadline: float = 30.0
    batch: int = 64
    pictures: int = 256
    frames: int = 60
    source_pixels: int = 30_000_000
    drain_seconds: int = 20

    def max_count(self, side):
        """Returns the pictures of `side` pixels that a request may ask for."""
        return images_lib.batch_size(self.pictures, side)
