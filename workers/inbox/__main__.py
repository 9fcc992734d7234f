"""`python -m workers.inbox`: the demo's mail server, SMS gateway and inbox page, until SIGTERM."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import AsyncIterator

from aiohttp import web

from workers.inbox.settings import SettingMissing, Settings
from workers.inbox.smtp import MailHandler, mail_protocol
from workers.inbox.store import Inbox
from workers.inbox.web import News, application

log = logging.getLogger("workers.inbox")


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[None]:
    """Both servers listen inside this context; leaving it closes them and the file."""
    inbox, news = Inbox(settings.path), News()
    handler = MailHandler(inbox, news.tell)
    loop = asyncio.get_running_loop()
    mail = await loop.create_server(
        mail_protocol(handler, user=settings.smtp_user, password=settings.smtp_password),
        settings.smtp_host,
        settings.smtp_port,
    )
    runner = web.AppRunner(
        application(inbox, token=settings.token, news=news), access_log=None, shutdown_timeout=1
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.http_host, settings.http_port).start()
        yield
    finally:
        mail.close()
        await runner.cleanup()
        inbox.close()


async def run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings):
        log.info("mail on port %d, SMS and page on %d", settings.smtp_port, settings.http_port)
        await stop.wait()
    log.info("stopped")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")
    try:
        asyncio.run(run(Settings.of(os.environ)))
    except (SettingMissing, OSError) as error:
        print(f"The inbox can't start: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
