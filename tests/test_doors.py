"""A proxy before a group: a door to each member, and no way past the doors."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from threading import Thread

import pytest

from harness.faults import FaultProxy, addresses_of
from harness.faults.doors import Address


@pytest.fixture
def members() -> Iterator[dict[Address, bytes]]:
    """Two servers that answer each client once, and what."""
    with ExitStack() as servers:
        answers: dict[Address, bytes] = {}
        for _ in range(2):
            server = servers.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
            servers.callback(server.shutdown, socket.SHUT_RDWR)
            answers[server.getsockname()] = b""
            Thread(target=_answer, args=(server, answers), daemon=True).start()
        yield answers


def _answer(server: socket.socket, answers: dict[Address, bytes]) -> None:
    address = server.getsockname()
    try:
        while True:
            client, _ = server.accept()
            with client:
                client.recv(100)
                client.sendall(answers[address])
    except OSError:
        return


def ask(address: Address) -> bytes:
    with socket.create_connection(address) as client:
        client.settimeout(2)
        client.sendall(b"?")
        return client.recv(1000)


def test_each_member_has_a_door(members: dict[Address, bytes]) -> None:
    one, other = members
    members[one], members[other] = b"one", b"other"
    hosts = ",".join(f"{host}:{port}" for host, port in members)
    with closing(FaultProxy(list(members))) as proxy:
        url = proxy.url(f"redis+cluster://:pw@{hosts}/0")
        doors = addresses_of(url)
        assert url.startswith("redis+cluster://:pw@")
        assert url.endswith("/0")
        assert set(doors).isdisjoint(members)
        assert [ask(door) for door in doors] == [b"one", b"other"]
        with proxy.refuse():
            for door in doors:
                with pytest.raises(OSError, match="refused"):
                    ask(door)


@pytest.mark.parametrize(
    "told",
    [
        b"-MOVED 12 127.0.0.1:%d\r\n",
        b"-ASK 12 127.0.0.1:%d\r\n",
        b"*1\r\n*3\r\n:0\r\n:9\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\nx\r\n",
        b"*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%d\r\n",
        b"$30\r\nid 127.0.0.1:%d@30000 master -\r\n",
    ],
)
def test_what_members_tell_of_each_other_leads_through_the_doors(
    members: dict[Address, bytes], told: bytes
) -> None:
    one, other = members
    members[one] = told % other[1]
    with closing(FaultProxy(list(members))) as proxy:
        hosts = ",".join(f"{host}:{port}" for host, port in members)
        door, others_door = addresses_of(proxy.url(f"redis+cluster://{hosts}"))
        assert ask(door) == told % others_door[1]
        members[one] = b"$5\r\n%d\r\n:%d\r\n" % (other[1], other[1])
        assert ask(door) == members[one]  # a number is not an address
