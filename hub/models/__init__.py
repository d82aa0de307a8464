"""The rows of a conversation, from the account on a channel to the reply on its way."""

from hub.models.connection import BurstPolicy, Connection, ConnectionStatus, OnUnknown
from hub.models.contact import Contact, Person
from hub.models.delivery import Delivery, DeliveryStatus
from hub.models.event import Event
from hub.models.idempotency import KeptAnswer
from hub.models.message import Message, MessageKey, MessageStatus
from hub.models.rollup import BOUNDS, BUCKETS, Grain, Rollup
from hub.models.session import Session, SessionOwner
from hub.models.turn import Turn, TurnKind, TurnStatus
from hub.models.worker import Worker

__all__ = [
    "BOUNDS",
    "BUCKETS",
    "BurstPolicy",
    "Connection",
    "ConnectionStatus",
    "Contact",
    "Delivery",
    "DeliveryStatus",
    "Event",
    "Grain",
    "KeptAnswer",
    "Message",
    "MessageKey",
    "MessageStatus",
    "OnUnknown",
    "Person",
    "Rollup",
    "Session",
    "SessionOwner",
    "Turn",
    "TurnKind",
    "TurnStatus",
    "Worker",
]
