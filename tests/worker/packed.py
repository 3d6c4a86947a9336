"""Records as control reads them."""

import msgpack


def records(events):
    """Take all that waits in a worker's queue and unpack it."""
    found = []
    while (frame := events.take()) is not None:
        count, packed = frame
        unpacker = msgpack.Unpacker(raw=False)
        unpacker.feed(packed)
        batch = list(unpacker)
        assert len(batch) == count
        found += batch
    return found
