"""Kafka and HTTP let in who may come in, and no secret is ever shown."""

import ast
import asyncio
import base64
import dataclasses
import hmac
import logging
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiokafka.protocol.admin import SaslAuthenticateRequest

from deploy.kafka.kafka import KafkaNode
from monitor.live.snapshot import Snapshot, stage_snapshot
from streams.certificates import CertificateError
from streams.kafka import security
from streams.kafka.security import kafka_options, kafka_refusal
from streams.settings import Secret, Settings, SettingsError, read
from streams.web.guard import Guard, exposure, http_ssl
from streams.web.server import HEADERS, PAGE, HttpServer, Sources
from tests.kit.brokers import TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import ROOT, WorkerProcess, counted, touchpoint, touchpoint_reading
from tests.kit.shipped import SHIPPED as CHAIR

PASSWORD = "s3cret-pass-wörd"  # noqa: S105 - of nothing
TOKEN = "t0ken-t0ken-t0ken"  # noqa: S105 - of nothing
USER = "ops"

EXTENSIONS = """\
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1
"""


class Certificates:
    """A CA and what it has signed, as PEM files."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self.ca = directory / f"{name}-ca.pem"
        self._ca_key = directory / f"{name}-ca.key"
        (directory / "extensions").write_text(EXTENSIONS)
        usage = "keyUsage = critical, keyCertSign, cRLSign"
        self._openssl(
            *("req", "-x509", *self._new_key(self._ca_key, f"{name}-ca")),
            *("-addext", usage, "-days", "2", "-out", str(self.ca)),
        )

    def _new_key(self, key: Path, subject: str) -> list[str]:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        return [*curve, "-keyout", str(key), "-subj", f"/CN={subject}"]

    def _openssl(self, *arguments: str) -> None:
        program = shutil.which("openssl")
        assert program is not None
        done = subprocess.run([program, *arguments], capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()

    def sign(self, subject: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and its key."""
        cert, key, request = (
            self._directory / f"{self._name}-{subject}.{kind}" for kind in ("pem", "key", "csr")
        )
        if not cert.exists():
            self._openssl("req", "-new", *self._new_key(key, subject), "-out", str(request))
            self._openssl(
                *("x509", "-req", "-in", str(request), "-CA", str(self.ca), "-CAkey", str(self._ca_key)),
                *("-CAcreateserial", "-days", "2", "-out", str(cert)),
                *("-extfile", str(self._directory / "extensions")),
            )
        return cert, key

    def encrypted(self, key: Path) -> Path:
        """The key behind a passphrase."""
        locked = key.with_suffix(".locked")
        self._openssl(
            "pkcs8", "-topk8", "-in", str(key), "-out", str(locked), "-passout", f"pass:{len(TOKEN)}"
        )
        return locked


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Ours."""
    return Certificates(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Somebody else's."""
    return Certificates(tmp_path_factory.mktemp("strangers"), "strangers")


def lines_of(**settings: str) -> list[str]:
    """The errors of these settings; none of them quotes a secret."""
    with pytest.raises(SettingsError) as caught:
        read({f"TOUCHPOINT_{name}": text for name, text in settings.items()})
    assert PASSWORD not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return str(caught.value).splitlines()


# -- secrets --------------------------------------------------------------------------------------------

SECRET_SETTINGS = {
    "KAFKA_SECURITY": "sasl_plaintext",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_USER": "monitor",
    "KAFKA_PASSWORD": PASSWORD,
    "HTTP_USER": USER,
    "HTTP_PASSWORD": PASSWORD,
    "HTTP_TOKEN": TOKEN,
    "PAGES_TOKEN": TOKEN,
}


def test_a_secret_shows_itself_to_nobody() -> None:
    """However settings are printed, compared or copied, secrets are three stars."""
    settings = read({f"TOUCHPOINT_{name}": text for name, text in SECRET_SETTINGS.items()})
    shown = [repr(settings), str(settings), f"{settings}", repr(dataclasses.asdict(settings))]
    shown += [f"{settings.kafka_password}", f"{settings.http_token!r:>30}", repr(Guard(settings))]
    shown.append(repr(security.broker_credentials(settings)))
    for text in shown:
        assert PASSWORD not in text
        assert TOKEN not in text
    assert "***" in shown[0]
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


@pytest.mark.parametrize("name", ["KAFKA_PASSWORD", "HTTP_PASSWORD", "HTTP_TOKEN", "PAGES_TOKEN"])
def test_a_secret_may_stand_in_a_file(name: str, tmp_path: Path) -> None:
    """A file's one line is the secret, with or without a line end; the same as given directly."""
    file = tmp_path / "secret"
    for written in (TOKEN, f"{TOKEN}\n", f"{TOKEN}\r\n"):
        file.write_bytes(written.encode())
        given = {key: text for key, text in SECRET_SETTINGS.items() if key != name}
        settings = read({f"TOUCHPOINT_{key}": text for key, text in given.items()} | {
            f"TOUCHPOINT_{name}_FILE": str(file)
        })  # fmt: skip
        assert getattr(settings, name.lower()) == Secret(TOKEN)
        assert TOKEN not in repr(settings)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "must be printable text"),
        (b"\n", "must be printable text"),
        (f"{PASSWORD}\n{PASSWORD}\n".encode(), "must be printable text"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"x" * 100_000, "is larger than 65,536 bytes"),
    ],
)
def test_a_wrong_secret_file_is_one_line(content: bytes | None, problem: str, tmp_path: Path) -> None:
    """An unusable file is named by its variable; not by what was given, which could be the secret itself."""
    file = tmp_path / PASSWORD
    if content is not None:
        file.write_bytes(content)
    lines = lines_of(HTTP_USER=USER, HTTP_PASSWORD_FILE=str(file))
    assert lines == [f"TOUCHPOINT_HTTP_PASSWORD_FILE: {problem}"]


def test_a_secret_in_the_wrong_variable_is_not_quoted() -> None:
    """A misspelt or misplaced secret is an error that does not repeat it."""
    assert lines_of(HTTP_TOKN=TOKEN) == [
        "TOUCHPOINT_HTTP_TOKN: unknown setting; did you mean TOUCHPOINT_HTTP_TOKEN?"
    ]
    assert lines_of(KAFKA_SECURITY=PASSWORD) == [
        "TOUCHPOINT_KAFKA_SECURITY: must be one of plaintext, ssl, sasl_ssl, sasl_plaintext"
    ]
    assert lines_of(HTTP_TOKEN=f"{TOKEN} {TOKEN}") == [
        "TOUCHPOINT_HTTP_TOKEN: must be visible ASCII characters without spaces"
    ]
    assert lines_of(HTTP_TOKEN_FILE=TOKEN) == ["TOUCHPOINT_HTTP_TOKEN_FILE: No such file or directory"]


NEEDS_SASL = "needs TOUCHPOINT_KAFKA_SECURITY of sasl_ssl or sasl_plaintext"
NEEDS_TLS = "needs TOUCHPOINT_KAFKA_SECURITY of ssl or sasl_ssl"
NEEDS_SECRET = "needs TOUCHPOINT_KAFKA_PASSWORD or TOUCHPOINT_KAFKA_PASSWORD_FILE"  # noqa: S105 - an error


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"HTTP_CERT": "x"}, ["HTTP_CERT: needs TOUCHPOINT_HTTP_KEY"]),
        ({"HTTP_KEY": "x"}, ["HTTP_KEY: needs TOUCHPOINT_HTTP_CERT"]),
        ({"HTTP_USER": "a:b"}, [
            "HTTP_USER: must not contain `:`, which ends it in basic auth",
            "HTTP_USER: needs TOUCHPOINT_HTTP_PASSWORD or TOUCHPOINT_HTTP_PASSWORD_FILE",
        ]),
        ({"HTTP_PASSWORD": PASSWORD}, ["HTTP_PASSWORD: needs TOUCHPOINT_HTTP_USER"]),
        ({"HTTP_TOKEN": TOKEN, "HTTP_TOKEN_FILE": __file__}, [
            "HTTP_TOKEN: give it or TOUCHPOINT_HTTP_TOKEN_FILE, not both",
            "HTTP_TOKEN_FILE: must be visible ASCII characters without spaces",
        ]),
        ({"KAFKA_SECURITY": "ssl", "KAFKA_CERT": "x"}, ["KAFKA_CERT: needs TOUCHPOINT_KAFKA_KEY"]),
        ({"KAFKA_CA": "x"}, [f"KAFKA_CA: {NEEDS_TLS}"]),
        ({"KAFKA_PASSWORD": PASSWORD}, [f"KAFKA_PASSWORD: {NEEDS_SASL}"]),
        ({"KAFKA_SASL_MECHANISM": "PLAIN"}, [f"KAFKA_SASL_MECHANISM: {NEEDS_SASL}"]),
        ({"KAFKA_SECURITY": "ssl", "KAFKA_USER": "u"}, [f"KAFKA_USER: {NEEDS_SASL}"]),
        ({"KAFKA_SECURITY": "sasl_ssl"}, [
            f"KAFKA_SECURITY: {NEEDS_SECRET}",
            "KAFKA_SECURITY: needs TOUCHPOINT_KAFKA_USER",
        ]),
        ({"KAFKA_SECURITY": "sasl_ssl", "KAFKA_USER": "u"}, [f"KAFKA_SECURITY: {NEEDS_SECRET}"]),
        ({"KAFKA_SECURITY": "tls", "KAFKA_USER": "u", "HTTP_CERT": "x"}, [
            "HTTP_CERT: needs TOUCHPOINT_HTTP_KEY",
            "KAFKA_SECURITY: must be one of plaintext, ssl, sasl_ssl, sasl_plaintext",
        ]),
    ],
)  # fmt: skip
def test_half_a_protection_is_an_error(settings: dict[str, str], lines: list[str]) -> None:
    """What only works together is asked for together, a line for each thing that is missing."""
    assert lines_of(**settings) == [f"TOUCHPOINT_{line}" for line in lines]


def test_no_program_shows_a_secret() -> None:
    """--help, errors, logs at their loudest, the API, the page and metrics say no secret."""
    helped = touchpoint("--help", **SECRET_SETTINGS)
    assert helped.returncode == 0
    failed = touchpoint("topics", KAFKA="127.0.0.1:9", KAFKA_TIMEOUT_S="1", **SECRET_SETTINGS)
    assert failed.returncode == 1
    assert (
        failed.stderr
        == "touchpoint: Kafka at 127.0.0.1:9 does not answer (KafkaConnectionError); tried for 1 s\n"
    )
    said = [helped.stdout, helped.stderr, failed.stdout, failed.stderr]
    settings = {name: text for name, text in SECRET_SETTINGS.items() if not name.startswith("HTTP_")}
    with WorkerProcess(KAFKA="127.0.0.1:9", LOG_LEVEL="debug", **settings) as worker:
        said += [worker.get(path).decode() for path in ("/api/stages", "/metrics", *PAGE)]
        worker.process.terminate()
        assert worker.process.stdout is not None
        said += [worker.process.stdout.read().decode(), worker.ended()[1]]
    for text in said:
        assert PASSWORD not in text
        assert TOKEN not in text


# -- HTTP -----------------------------------------------------------------------------------------------


async def snapshot() -> Snapshot:
    """A worker that waits for Kafka."""
    stages = tuple(stage_snapshot(CHAIR, stage, None, 0) for stage in CHAIR.stages)
    return Snapshot(CHAIR, 1_800_000_000_000, False, stages, "1", 8, 4, worker="w1", problems=("waiting",))


Ask = Callable[..., Awaitable[aiohttp.ClientResponse]]


@asynccontextmanager
async def serving(settings: Settings, **session: Any) -> AsyncIterator[Ask]:
    """Asks a server of these settings."""
    server = HttpServer(replace(settings, http="127.0.0.1:0"), Sources(snapshot, lambda _: None))
    url = f"{'https' if settings.http_cert else 'http'}://{await server.start()}"
    try:
        async with aiohttp.ClientSession(url, **session) as client:

            async def ask(path: str, authorization: str | bytes = b"") -> aiohttp.ClientResponse:
                given = authorization.decode() if isinstance(authorization, bytes) else authorization
                answer = await client.get(path, headers={"Authorization": given} if given else {})
                await answer.read()
                assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
                return answer

            yield ask
    finally:
        await server.stop()


def basic(user: str, password: str) -> str:
    """The Authorization header of basic auth."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


BASIC = Settings(http_user=USER, http_password=Secret(PASSWORD))
BEARER = Settings(http_token=Secret(TOKEN))
BOTH = dataclasses.replace(BASIC, http_token=Secret(TOKEN))
GUARDED = ["/metrics", "/api/stages", "/api/stages/store/failures", *PAGE, "/nothing", "/livez/", "/%2Flivez"]
WRONG = [
    "",
    "Basic",
    "Basic ",
    "Basic !!!",
    "Basic ä",
    basic(USER, ""),
    basic(USER, PASSWORD[:-1]),
    basic(USER, PASSWORD + "x"),
    basic("", PASSWORD),
    basic(USER.upper(), PASSWORD),
    basic(USER, "***"),
    "Bearer",
    "Bearer ***",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN}x",
    "Bearer ä",
    f"Token {TOKEN}",
    TOKEN,
]


@pytest.mark.parametrize("settings", [BASIC, BEARER, BOTH], ids=["basic", "bearer", "both"])
async def test_strangers_get_401(settings: Settings) -> None:
    """Everything but the probes is closed, unknown paths too, and the answer says how to ask."""
    async with serving(settings) as ask:
        for path in GUARDED:
            answer = await ask(path)
            assert (path, answer.status) == (path, 401)
            assert answer.headers.getall("WWW-Authenticate") == Guard(settings).challenges
        for authorization in WRONG:
            assert ((await ask("/metrics", authorization)).status, authorization) == (401, authorization)
        assert (await ask("/livez")).status == 200
        assert (await ask("/readyz")).status == 503  # not ready, but answered
        assert (await ask("/readyz", "Bearer wrong")).status == 503


@pytest.mark.parametrize(
    ("settings", "allowed", "refused"),
    [
        (BASIC, [basic(USER, PASSWORD)], [f"Bearer {TOKEN}", f"Bearer {PASSWORD}"]),
        (BEARER, [f"Bearer {TOKEN}", f"bearer  {TOKEN}"], [basic(USER, PASSWORD), basic(USER, TOKEN)]),
        (BOTH, [basic(USER, PASSWORD), f"Bearer {TOKEN}"], [basic(USER, TOKEN), f"Bearer {PASSWORD}"]),
    ],
    ids=["basic", "bearer", "both"],
)
async def test_who_knows_the_secret_is_let_in(
    settings: Settings, allowed: list[str], refused: list[str]
) -> None:
    """The user's password opens everything, as does the token, each where it is set."""
    async with serving(settings) as ask:
        for authorization in allowed:
            for path in ("/metrics", "/api/stages", *PAGE):
                assert (await ask(path, authorization)).status == 200
            assert (await ask("/nothing", authorization)).status == 404
        for authorization in refused:
            assert (await ask("/metrics", authorization)).status == 401


async def test_without_secrets_anybody_may_ask() -> None:
    """Nothing is closed where nothing is set."""
    async with serving(Settings()) as ask:
        assert (await ask("/metrics")).status == 200
        assert (await ask("/metrics", "Bearer anything")).status == 200


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison of a secret is `hmac.compare_digest`; nothing else in the product compares one."""
    compared: list[tuple[bytes, bytes]] = []

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", watched)
    assert not Guard(BOTH).allows(f"Bearer {TOKEN}")  # the comparison alone decides
    assert not Guard(BOTH).allows(basic(USER, PASSWORD))
    assert compared == [(TOKEN.encode(),) * 2, (f"{USER}:{PASSWORD}".encode(),) * 2]
    for file in (ROOT / "streams").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                assert "reveal" not in ast.dump(node), f"{file}:{node.lineno}"


async def test_http_over_tls(certificates: Certificates, strangers: Certificates) -> None:
    """With a certificate, HTTP is answered over TLS only; whoever trusts another CA turns away."""
    cert, key = certificates.sign("http")
    settings = dataclasses.replace(BEARER, http_cert=cert, http_key=key)
    trusting = ssl.create_default_context(cafile=str(certificates.ca))
    async with serving(settings, connector=aiohttp.TCPConnector(ssl=trusting)) as ask:
        answer = await ask("/metrics", f"Bearer {TOKEN}")
        assert (answer.status, answer.url.scheme) == (200, "https")
        assert (await ask("/metrics")).status == 401
        async with aiohttp.ClientSession() as plain:
            with pytest.raises(aiohttp.ClientError):
                await plain.get(answer.url.with_scheme("http").with_port(answer.url.port))
    doubting = ssl.create_default_context(cafile=str(strangers.ca))
    async with serving(settings, connector=aiohttp.TCPConnector(ssl=doubting)) as ask:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask("/livez")


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("127.0.0.1:8080", False),
        ("127.9.9.9:1", False),
        ("[::1]:8080", False),
        ("localhost:8080", False),
        ("0.0.0.0:8080", True),
        ("[::]:8080", True),
        ("10.0.0.1:80", True),
        ("monitor.example.com:80", True),
    ],
)
def test_an_open_door_is_warned_of(address: str, warned: bool) -> None:
    """HTTP for the whole network without a secret is worth a warning; with one it is not."""
    assert (exposure(Settings(http=address)) is not None) == warned
    assert exposure(dataclasses.replace(BASIC, http=address)) is None
    assert exposure(dataclasses.replace(BEARER, http=address)) is None


@pytest.mark.parametrize("secret", [{}, {"HTTP_TOKEN": TOKEN}], ids=["open", "token"])
def test_a_worker_warns_of_an_open_door(secret: dict[str, str]) -> None:
    """The warning is one line on standard error, and the worker works all the same."""
    with WorkerProcess(KAFKA="127.0.0.1:9", HTTP="0.0.0.0:0", **secret) as worker:
        assert worker.get("/livez") == b"alive\n"
        code, said = worker.end()
    assert code == 0
    assert said.count("HTTP on 0.0.0.0:0 answers anybody: set TOUCHPOINT_HTTP_TOKEN_FILE") == (not secret)
    assert TOKEN not in said


# -- certificates ---------------------------------------------------------------------------------------


def test_wrong_certificate_files_are_one_line(certificates: Certificates, tmp_path: Path) -> None:
    """A file that is missing, no PEM, of another key or encrypted is named in one line."""
    cert, key = certificates.sign("http")
    other_cert, _ = certificates.sign("other")
    nothing, nonsense, broken = tmp_path / "none.pem", tmp_path / "nonsense.pem", tmp_path / "broken.pem"
    nonsense.write_bytes(b"\x00\xffhello")
    broken.write_text("-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n")
    locked = certificates.encrypted(key)
    pairs = [
        (nothing, key, f"{nothing}: No such file or directory"),
        (cert, tmp_path, f"{tmp_path}: Is a directory"),
        (nonsense, key, f"{nonsense}: holds no certificate in PEM form"),
        (key, key, f"{key}: holds no certificate in PEM form"),
        (cert, cert, f"{cert}: holds no private key in PEM form"),
        (other_cert, key, f"{key}: is not the private key of {other_cert}"),
        (cert, locked, f"{locked}: the private key is encrypted, which a worker cannot open"),
        (broken, key, f"{broken} or {key}: cannot be used"),
    ]
    for one, other, line in pairs:
        for settings, made in (
            (Settings(http_cert=one, http_key=other), http_ssl),
            (Settings(kafka_security="ssl", kafka_cert=one, kafka_key=other), kafka_options),
        ):
            with pytest.raises(CertificateError) as caught:
                made(settings)
            assert str(caught.value).startswith(line)
            assert "\n" not in str(caught.value)
    for ca in (nothing, nonsense, broken):
        with pytest.raises(CertificateError, match=str(ca)):
            kafka_options(Settings(kafka_security="ssl", kafka_ca=ca))
    done = touchpoint("worker", HTTP_CERT=str(nothing), HTTP_KEY=str(key))
    assert (done.returncode, done.stderr) == (1, f"touchpoint: {nothing}: No such file or directory\n")


def test_kafka_options_are_what_was_set(certificates: Certificates) -> None:
    """Each kind of security has exactly its own options; TLS always checks certificate and host name."""
    cert, key = certificates.sign("client")
    assert kafka_options(Settings(kafka_user="u", kafka_password=Secret("p"))) == {}
    files: dict[str, Any] = {"kafka_ca": certificates.ca, "kafka_cert": cert, "kafka_key": key}
    sasl: dict[str, Any] = {"kafka_user": "u", "kafka_password": Secret("p")}
    told = {
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "u",
        "sasl_plain_password": "p",
    }
    assert kafka_options(Settings(kafka_security="sasl_plaintext", **sasl)) == {
        "security_protocol": "SASL_PLAINTEXT",
        "ssl_context": None,
        **told,
    }
    for name, expected in (("ssl", {}), ("sasl_ssl", told)):
        for some in (files, {"kafka_ca": certificates.ca}, {}):
            options = kafka_options(Settings(kafka_security=name, **some, **sasl))
            context = options.pop("ssl_context")
            assert options == {"security_protocol": name.upper(), **expected}
            assert context.check_hostname
            assert context.verify_mode == ssl.CERT_REQUIRED
            assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_debug_log_hides_what_plain_sends(caplog: pytest.LogCaptureFixture) -> None:
    """aiokafka writes each request into its debug log; those with a password are left out."""
    log = logging.getLogger("aiokafka.conn")
    with caplog.at_level(logging.DEBUG, "aiokafka.conn"):
        log.debug("Request to %s: %s", "k:1", SaslAuthenticateRequest(f"\0u\0{PASSWORD}".encode()))
        log.debug("Request to %s: %s", "k:1", "MetadataRequest")
    assert [record.getMessage() for record in caplog.records] == ["Request to k:1: MetadataRequest"]


async def test_a_missing_broker_is_no_refusal(certificates: Certificates) -> None:
    """Only an answer is a refusal: a broker that is away is asked again."""
    settings = Settings(
        kafka="127.0.0.1:9,[::1]:9", kafka_security="ssl", kafka_ca=certificates.ca, kafka_timeout_s=1
    )
    assert await kafka_refusal(settings, kafka_options(settings)) is None


async def test_a_server_without_tls_is_a_refusal(certificates: Certificates) -> None:
    """Whoever answers, but not in TLS, is told in one line."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = Settings(kafka=address, kafka_security="ssl", kafka_ca=certificates.ca, kafka_timeout_s=5)
    async with server:
        refusal = await kafka_refusal(settings, kafka_options(settings))
    assert refusal is not None
    assert refusal.startswith(f"Kafka at {address} ends the TLS connection: ")


async def test_a_renewed_certificate_is_shown_by_clients_that_run(
    certificates: Certificates, tmp_path: Path
) -> None:
    """They showed the one that they had read at their start, until it had expired and Kafka shut them out."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
    context.load_cert_chain(*certificates.sign("server"))
    context.verify_mode = ssl.CERT_REQUIRED
    shown: asyncio.Queue[Any] = asyncio.Queue()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shown.put(writer.get_extra_info("peercert"))
        writer.close()

    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    host, port = server.sockets[0].getsockname()[:2]
    settings = Settings(kafka_security="ssl", kafka_ca=certificates.ca, kafka_cert=cert, kafka_key=key)
    subjects, contexts = [], []
    async with server:
        for name in ("before", "after"):
            for file, renewed in zip((cert, key), certificates.sign(name), strict=True):
                shutil.copy(renewed, file)
            contexts.append(kafka_options(settings)["ssl_context"])
            _, writer = await asyncio.open_connection(host, port, ssl=contexts[0])
            subjects.append((await asyncio.wait_for(shown.get(), 30))["subject"][0][0][1])
            writer.close()
    assert subjects == ["before", "after"]


async def test_a_kafka_without_tls_is_named() -> None:
    """It hangs up at the first bytes of TLS, which looked like no Kafka at all."""
    with running(TansuNode()) as node:
        settings = Settings(kafka=node.bootstrap, kafka_security="ssl", kafka_timeout_s=5)
        refusal = await kafka_refusal(settings, kafka_options(settings))
    assert refusal == (
        f"Kafka at {node.bootstrap} does not speak TLS, as TOUCHPOINT_KAFKA_SECURITY of ssl wants it"
    )


@pytest.mark.parametrize("security", ["plaintext", "sasl_plaintext"])
async def test_a_server_with_tls_is_named(certificates: Certificates, security: str) -> None:
    """Whoever forgets the setting read that no Kafka answers."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificates.sign("server"))

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = Settings(
        kafka=address, kafka_security=security, kafka_user=USER, kafka_password=Secret(PASSWORD)
    )
    async with server:
        refusal = await kafka_refusal(settings, kafka_options(settings))
    assert refusal == f"Kafka at {address} speaks TLS: TOUCHPOINT_KAFKA_SECURITY must be ssl or sasl_ssl"


# -- Apache Kafka ---------------------------------------------------------------------------------------

CLIENT = "listener.name.client"


def tls_config(certificates: Certificates, protocol: str, directory: Path) -> dict[str, str]:
    """Lines of server.properties for a listener CLIENT with a certificate."""
    cert, key = certificates.sign("broker")
    store = directory / "broker.pem"
    store.write_text(key.read_text() + cert.read_text())
    return {
        "listener.security.protocol.map": f"CLIENT:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        f"{CLIENT}.ssl.keystore.type": "PEM",
        f"{CLIENT}.ssl.keystore.location": str(store),
        f"{CLIENT}.ssl.truststore.type": "PEM",
        f"{CLIENT}.ssl.truststore.location": str(certificates.ca),
    }


@pytest.fixture(scope="module")
def scram_node(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """Apache Kafka over SASL_SSL, with one user by SCRAM-SHA-512 and one by PLAIN."""
    directory = tmp_path_factory.mktemp("scram")
    module = "org.apache.kafka.common.security"
    config = tls_config(certificates, "SASL_SSL", directory) | {
        f"{CLIENT}.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        f"{CLIENT}.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        f"{CLIENT}.plain.sasl.jaas.config": (
            f'{module}.plain.PlainLoginModule required user_monitor="{TOKEN}";'
        ),
    }
    with running(KafkaNode(directory, config=config, scram={"monitor": TOKEN})) as node:
        yield node


@pytest.fixture(scope="module")
def mtls_node(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """Apache Kafka over TLS, which wants a certificate of its clients."""
    directory = tmp_path_factory.mktemp("mtls")
    config = tls_config(certificates, "SSL", directory) | {f"{CLIENT}.ssl.client.auth": "required"}
    with running(KafkaNode(directory, config=config)) as node:
        yield node


def scram(node: KafkaNode, certificates: Certificates, file: Path) -> dict[str, str]:
    """Settings of a client with a password in a file."""
    file.write_text(f"{TOKEN}\n")
    return {
        "KAFKA": node.bootstrap,
        "KAFKA_SECURITY": "sasl_ssl",
        "KAFKA_CA": str(certificates.ca),
        "KAFKA_USER": "monitor",
        "KAFKA_PASSWORD_FILE": str(file),
    }


def mtls(node: KafkaNode, certificates: Certificates, client: tuple[Path, Path]) -> dict[str, str]:
    """Settings of a client with a certificate."""
    cert, key = map(str, client)
    return {
        "KAFKA": node.bootstrap,
        "KAFKA_SECURITY": "ssl",
        "KAFKA_CA": str(certificates.ca),
        "KAFKA_CERT": cert,
        "KAFKA_KEY": key,
    }


def counts_what_is_published(group: str, **settings: str) -> str:
    """Publish events and count them through the same settings; everything the worker has said."""
    events = [
        {
            "id": f"{group}-{number}",
            "time": datetime.now(UTC).isoformat(),
            "stage": "web_checkout",
            "outcome": "ok",
        }
        for number in range(500)
    ]
    personal = events[0] | {"id": "p", "customer_ref": "+358 40 123 4567"}
    assert touchpoint("topics", **settings).returncode == 0
    lines = b"\n".join(map(orjson.dumps, [*events, personal]))
    done = touchpoint_reading(lines, "publish", REFUSE_PERSONAL_DATA="false", **settings)
    assert done.returncode == 0, done.stderr
    with WorkerProcess(GROUP=group, **settings) as worker:
        worker.ready()
        until(lambda: counted(worker) >= 500, "all events counted")
        scrape = worker.scrape()
        assert scrape.sum("touchpoint_records_total", result="counted") == 500
        assert scrape.sum("touchpoint_dead_letters_total", reason="personal_data") == 1
        worker.process.terminate()
        out, err = worker.process.communicate(timeout=60)
    assert worker.process.returncode == 0
    return str(out) + str(err)


def is_refused(**settings: str) -> str:
    """The one line of a worker that is not let in; quick, though it would retry for long."""
    done = touchpoint("worker", HTTP="127.0.0.1:0", KAFKA_TIMEOUT_S="100", **settings)
    assert done.returncode == 1
    assert TOKEN not in done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("http://")]
    assert len(lines) == 1, lines
    return lines[0].removeprefix(f"touchpoint: Kafka at {settings['KAFKA']} ")


@pytest.mark.full
@pytest.mark.timeout(300)
def test_scram_over_tls(scram_node: KafkaNode, certificates: Certificates, tmp_path: Path) -> None:
    """A worker counts events from Apache Kafka over SASL_SSL with SCRAM-SHA-512."""
    counts_what_is_published("scram", **scram(scram_node, certificates, tmp_path / "password"))


@pytest.mark.full
@pytest.mark.timeout(300)
def test_plain_over_tls_at_the_loudest(
    scram_node: KafkaNode, certificates: Certificates, tmp_path: Path
) -> None:
    """With PLAIN the password itself is sent, and the debug log does not show it."""
    settings = scram(scram_node, certificates, tmp_path / "password")
    said = touchpoint("topics", KAFKA_SASL_MECHANISM="PLAIN", LOG_LEVEL="debug", **settings)
    assert said.returncode == 0
    assert "DEBUG aiokafka" in said.stderr
    for shown in (TOKEN, base64.b64encode(TOKEN.encode()).decode(), "SaslAuthenticate"):
        assert shown not in said.stdout + said.stderr


@pytest.mark.full
@pytest.mark.timeout(300)
def test_mutual_tls(mtls_node: KafkaNode, certificates: Certificates) -> None:
    """A worker counts events from Apache Kafka that knows it by its certificate."""
    counts_what_is_published("mtls", **mtls(mtls_node, certificates, certificates.sign("client")))


@pytest.mark.full
@pytest.mark.timeout(300)
def test_wrong_password_is_one_line(
    scram_node: KafkaNode, certificates: Certificates, strangers: Certificates, tmp_path: Path
) -> None:
    """A wrong password, user, mechanism or CA ends the worker at once, in one line without a secret."""
    settings = scram(scram_node, certificates, tmp_path / "password")
    refused = "refuses user {} (SaslAuthenticationFailed)"
    assert is_refused(**settings | {"KAFKA_USER": "nobody"}) == refused.format("nobody")
    unsupported = is_refused(**settings | {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"})
    assert unsupported == "refuses user monitor (UnsupportedSaslMechanismError)"
    untrusted = is_refused(**settings | {"KAFKA_CA": str(strangers.ca)})
    assert untrusted.startswith(f"shows a certificate that {strangers.ca} cannot vouch for: ")
    (tmp_path / "password").write_text(PASSWORD)
    assert is_refused(**settings) == refused.format("monitor")


@pytest.mark.full
@pytest.mark.timeout(300)
def test_wrong_client_certificate_is_one_line(
    mtls_node: KafkaNode, certificates: Certificates, strangers: Certificates
) -> None:
    """A certificate of another CA, or none, ends the worker at once; so does trust in another CA."""
    settings = mtls(mtls_node, certificates, certificates.sign("client"))
    theirs = mtls(mtls_node, certificates, strangers.sign("client"))
    without = {name: text for name, text in settings.items() if name not in ("KAFKA_CERT", "KAFKA_KEY")}
    assert is_refused(**theirs).startswith("ends the TLS connection: ")
    assert is_refused(**without).startswith("ends the TLS connection: ")
    untrusted = is_refused(**settings | {"KAFKA_CA": str(strangers.ca)})
    assert untrusted.startswith(f"shows a certificate that {strangers.ca} cannot vouch for: ")
