"""The fake of each channel that has a platform behind it. A new channel adds its module and its line here."""

from collections.abc import Mapping

from tests.support.platforms.base import FakePlatform
from tests.support.platforms.slack import FakeSlack
from tests.support.platforms.telegram import FakeTelegram
from tests.support.platforms.webhook import FakeProgram

FAKES: Mapping[str, type[FakePlatform]] = {fake.slug: fake for fake in (FakeProgram, FakeSlack, FakeTelegram)}
