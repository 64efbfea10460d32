"""Certificate and key files as TLS wants them, or which file cannot be used and why."""

import ssl
from pathlib import Path

from monitor.errors import UserError
from streams.files import content_of


class CertificateError(UserError):
    """A certificate or key file that cannot be used; one line that names it."""


def trusting(ca: Path | None, own: Path | None = None) -> ssl.SSLContext:
    """A client's context that checks host names, and trusts this file's CAs and no others.

    Unless a CA is given: the system's, and the certificate `own`.
    """
    if shown := ca or own:
        _require(shown, "CERTIFICATE-----", "certificate")
    try:
        context = ssl.create_default_context(cafile=ca)
        if ca is None and own is not None:
            context.load_verify_locations(own)
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"{shown}: holds no usable certificate ({_reason(error)})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # some builds of Python leave it to OpenSSL
    return context


def present(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Have a context show this certificate, and prove by the key that it is its own."""
    _require(cert, "CERTIFICATE-----", "certificate")
    if "ENCRYPTED" in _require(key, "PRIVATE KEY-----", "private key"):
        raise CertificateError(f"{key}: the private key is encrypted, which a worker cannot open")
    try:
        context.load_cert_chain(cert, key, password="")  # or OpenSSL would ask at the terminal
    except (ssl.SSLError, OSError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key}: is not the private key of {cert}") from None
        raise CertificateError(f"{cert} or {key}: cannot be used ({_reason(error)})") from None


def _require(file: Path, marker: str, what: str) -> str:
    """The text of a PEM file that holds what it must."""
    try:
        text = content_of(file).decode("ascii", errors="replace")
    except UserError as error:
        raise CertificateError(str(error)) from None
    if marker not in text:
        raise CertificateError(f"{file}: holds no {what} in PEM form")
    return text


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
