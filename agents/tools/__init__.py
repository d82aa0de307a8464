"""Tools that an agent may call: what they are, what they do to the world, and how they are run."""

from agents.tools.base import Tool, ToolContext
from agents.tools.builtin import BUILT_IN
from agents.tools.ledger import Claim, Ledger, Prior
from agents.tools.runner import ToolRunner

__all__ = ["BUILT_IN", "Claim", "Ledger", "Prior", "Tool", "ToolContext", "ToolRunner"]
