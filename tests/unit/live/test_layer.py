"""The Channels layer waits for longer than its own reads block."""

from channels_redis.core import RedisChannelLayer
from django.conf import settings


def test_an_idle_read_comes_back_before_the_client_gives_up() -> None:
    assert 2 * RedisChannelLayer.brpop_timeout <= settings.LAYER_ANSWER_LIMIT_S
