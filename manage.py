"""Django's own commands; `hub` is the command for everything else."""

import sys

from django.core.management import execute_from_command_line

from hub.env import select_settings

if __name__ == "__main__":
    select_settings()
    execute_from_command_line(sys.argv)
