"""The shared block between a motor process and the process that commands it: a file of our own under /dev/shm.

- `layout`: where each field stands, and the hash that names this arrangement
- `block`: create, attach, lock, reclaim, remove
- `mailbox`: newest-value exchange in one direction (double buffer, sequence, checksum)
- `ring`: the last few thousand tick reports
"""

from controllers.shared_memory.block import BlockError, BlockInUse, SharedBlock
from controllers.shared_memory.mailbox import MailboxReader, MailboxWriter
from controllers.shared_memory.ring import RingReader, RingWriter

__all__ = [
    "BlockError",
    "BlockInUse",
    "MailboxReader",
    "MailboxWriter",
    "RingReader",
    "RingWriter",
    "SharedBlock",
]
