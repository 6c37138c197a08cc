"""What pages need of the house."""

from typing import Protocol

from dewpond.kit.batch import Batch
from dewpond.kit.db import Database
from dewpond.kit.secrets import MasterKeys
from dewpond.pay import Confirmation, Opened, Opening, Payment
from dewpond.settings import Settings


class House(Protocol):
    """What one process holds of a world, as far as pages are concerned."""

    @property
    def db(self) -> Database: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def secrets(self) -> MasterKeys: ...
    @property
    def openings(self) -> Batch[Opening, Opened]: ...
    @property
    def confirmations(self) -> Batch[Confirmation, Payment]: ...
