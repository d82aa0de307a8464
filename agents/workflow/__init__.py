"""Workflows: a graph as data, checked when it is loaded, run with a checkpoint after every step."""

from agents.workflow.engine import END, Checkpoint, Position, Workflow
from agents.workflow.graph import load

__all__ = ["END", "Checkpoint", "Position", "Workflow", "load"]
