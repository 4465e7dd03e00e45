"""The rules of the Socket.IO protocol, revision 5, checked with raw frames against the echo server."""

import json
from collections.abc import AsyncIterator

import pytest
from support.engine import PATIENT, Http, Raw, Stubborn, client_of, echo_server, serving, until


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with serving(echo_server(**PATIENT)) as url, client_of(url) as http:
        yield http


async def connected(http: Http) -> Raw:
    raw, _ = await http.connected()
    assert (await raw.next()).startswith('42["auth"')
    return raw


@pytest.mark.parametrize(
    ("sent", "prefix", "auth"),
    [
        ("40", "40", '42["auth",{}]'),
        ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
        ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
        ("40/custom", "40/custom,", '42/custom,["auth",{}]'),
        ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
        ('40/custom?a=b,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
    ],
)
async def test_connect_to_a_namespace(http: Http, sent: str, prefix: str, auth: str) -> None:
    """Connection: CONNECT is answered with {"sid"}, then the event that the connect handler emitted."""
    raw = await http.websocket()
    await raw.send(sent)
    answer = await raw.next()
    assert answer.startswith(prefix)
    handshake = json.loads(answer[len(prefix) :])
    assert list(handshake) == ["sid"]
    assert isinstance(handshake["sid"], str)
    assert await raw.next() == auth


async def test_an_unknown_namespace_is_refused_with_a_message(http: Http) -> None:
    """Connection: CONNECT_ERROR with {"message"}, which the JS client shows."""
    raw = await http.websocket()
    await raw.send("40/random")
    assert await raw.next() == '44/random,{"message":"Invalid namespace"}'


@pytest.mark.parametrize(
    "packet",
    [
        "4abc",
        "4",
        "47",
        "4true",
        "42{}",
        "42[]",
        "42[1]",
        '42["a"',
        "42",
        '42abc["message-with-ack",1]',
        '421234567890123456["message-with-ack",1]',
        '42["connect",{}]',
        '42["disconnect","x"]',
        '42["connect_error"]',
        '42["disconnecting"]',
        '42["newListener"]',
        '42["removeListener"]',
        '42["message",NaN]',
        '42["message",Infinity]',
        '42["message",1e999]',
        '42["message",' + "[" * 100 + "]" * 100 + "]",
        "43[]",
        "431{}",
        '44{"message":"x"}',
        "41{}",
        '40["x"',
        "405{}",
        '4511-["message",{"_placeholder":true,"num":0}]',
        '459999999999-["message",{"_placeholder":true,"num":0}]',
        '451-["message"]',
        '451-["message",{"_placeholder":true,"num":1}]',
        '451-["message",{"_placeholder":true,"num":-1}]',
        '451-["message",{"_placeholder":true,"num":"0"}]',
        '451-["message",{"_placeholder":true}]',
        '451-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]',
        '451-["connect",{"_placeholder":true,"num":0}]',
        '421-["message"]',
        "2",
        "2probe",
        "5",
        "9",
        "",
        "0{}",
        "abc",
        b"an attachment nobody announced",
    ],
)
async def test_a_malformed_packet_ends_its_client_at_once_and_no_other(http: Http, packet: str | bytes) -> None:
    """Packet encoding: whatever is not a packet closes the connection."""
    other = await connected(http)
    raw = await connected(http)
    await raw.send(packet)
    assert await raw.closed() == 1008
    await other.send('42["message","still here"]')
    assert await other.next() == '42["message-back","still here"]'


async def test_a_second_connect_ends_the_client_and_no_other(http: Http) -> None:
    """Connection: a namespace is connected to once; the client may come back."""
    other = await connected(http)
    raw = await connected(http)
    await raw.send("40")
    assert await raw.closed() == 1000
    await other.send('42["message","still here"]')
    assert await other.next() == '42["message-back","still here"]'


async def test_text_where_an_attachment_is_due_ends_the_client(http: Http) -> None:
    """Binary events: the attachments follow their packet without anything in between."""
    raw = await connected(http)
    await raw.send('451-["message",{"_placeholder":true,"num":0}]', '42["message","x"]')
    assert await raw.closed() == 1008


async def test_disconnect_from_the_main_namespace_leaves_the_engine_open() -> None:
    """Disconnection: the Engine.IO connection goes on; its next packet is a ping."""
    sio = echo_server(ping_interval=0.3, ping_timeout=20)
    async with serving(sio) as url, client_of(url) as http:
        raw = await connected(http)
        await raw.send("41")
        await until(lambda: not sio.stats()["clients"], "it has left the namespace")
        for _ in range(2):
            assert await raw.frame() == "2"
            await raw.send("3")


async def test_disconnect_from_one_namespace_leaves_the_other(http: Http) -> None:
    raw = await connected(http)
    await raw.send("40/custom")
    assert (await raw.next()).startswith("40/custom,")
    assert await raw.next() == '42/custom,["auth",{}]'
    await raw.send("41/custom", '42["message","message to main namespace"]')
    assert await raw.next() == '42["message-back","message to main namespace"]'
    await raw.send('42/custom,["message","nobody there"]', '42["message","again"]')
    assert await raw.next() == '42["message-back","again"]'


async def test_events_and_acks_keep_their_arguments(http: Http) -> None:
    """Event, Ack: any number of JSON arguments; an id makes the ack."""
    raw = await connected(http)
    await raw.send('42["message",1,"2",{"3":[true]}]')
    assert await raw.next() == '42["message-back",1,"2",{"3":[true]}]'
    await raw.send('42456["message-with-ack",1,"2",{"3":[false]}]')
    assert await raw.next() == '43456[1,"2",{"3":[false]}]'
    await raw.send('420["message-with-ack"]')
    assert await raw.next() == "430[]"


async def test_binary_events_and_acks(http: Http) -> None:
    """Binary events: placeholders and attachments, both ways."""
    raw = await connected(http)
    both = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    await raw.send(f'452-["message",{both}]', b"\1\2\3", b"\4\5\6")
    assert [await raw.next() for _ in range(3)] == [f'452-["message-back",{both}]', b"\1\2\3", b"\4\5\6"]
    await raw.send(f'452-789["message-with-ack",{both}]', b"\1\2\3", b"\4\5\6")
    assert [await raw.next() for _ in range(3)] == [f"462-789[{both}]", b"\1\2\3", b"\4\5\6"]


async def test_half_an_emoji_is_repaired(http: Http) -> None:
    """JSON.stringify writes a cut surrogate pair as an escape; that client must not be dropped again and again."""
    raw = await connected(http)
    await raw.send('42["message","half: \\ud83d"]')
    assert await raw.next() == '42["message-back","half: �"]'


async def test_what_the_connect_handler_emits_does_not_come_in_one_piece_with_connect(http: Http) -> None:
    """Who waits for CONNECT and then listens for events missed those that were read together with it."""
    client = await Stubborn.connect(http.url)
    try:
        assert b"40{" in client.buffer
        assert b"auth" not in client.buffer
        await client.send('421["message-with-ack"]')
        while b"431[]" not in client.buffer:
            await client.read()
        assert client.buffer.index(b'42["auth",{}]') < client.buffer.index(b"431[]")
    finally:
        client.close()
