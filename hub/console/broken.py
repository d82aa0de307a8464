"""What a browser is shown when a page fails: a database that is away is no fault of the page's."""

import sys
from typing import Final

import psycopg
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader

AWAY: Final = (OperationalError, InterfaceError, psycopg.OperationalError)
AGAIN_SECONDS: Final = 5


def broken(request: HttpRequest) -> HttpResponse:
    """Called by Django while the error is being handled. Nothing is read from the database for it."""
    del request
    away = isinstance(sys.exception(), AWAY)
    status = 503 if away else 500
    response = HttpResponse(loader.get_template(f"{status}.html").render(), status=status)
    if away:
        response["Retry-After"] = str(AGAIN_SECONDS)
    return response
