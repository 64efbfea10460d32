"""A client that is given up while it asks its first broker closes the connection it asks on.

aiokafka keeps that connection in a local variable, and closes it for errors, not for a cancellation. It is
closed when it is collected, with a line in the log that nobody can do anything about.
"""

import asyncio
from typing import Any

from aiokafka import client
from aiokafka.conn import AIOKafkaConnection, create_conn


async def connect(host: str, port: int, **options: Any) -> AIOKafkaConnection:
    """As `create_conn`; a connection that the client does not keep is closed if a request on it is cancelled.

    The client keeps those of which it wants to hear when they are closed.
    """
    made = await create_conn(host, port, **options)
    if "on_close" not in options:
        send = made.send

        async def send_or_close(*request: Any, **how: Any) -> Any:
            try:
                return await send(*request, **how)
            except asyncio.CancelledError:
                made.close()
                raise

        made.send = send_or_close
    return made


def guard() -> None:
    """Have every client of this process connect so."""
    client.create_conn = connect
