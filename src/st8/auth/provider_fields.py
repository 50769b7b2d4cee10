"""The section ``jwt`` of the policy file: identity providers."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from st8.auth.claims import ClaimRule
from st8.auth.identity_tokens import Provider
from st8.auth.key_ring import ALGORITHMS
from st8.auth.key_source import KeyPlace, check_url
from st8.auth.rule_fields import read_duration, read_rules
from st8.auth.yaml_fields import nearest

if TYPE_CHECKING:
    from pathlib import Path

    from st8.auth.yaml_fields import Field

__all__ = ["read_providers"]

_REFRESH_S: Final = 600.0
_LEEWAY_S: Final = 30.0
_PROVIDER: Final = (
    "issuer",
    "audience",
    "jwks_file",
    "jwks_url",
    "jwks_ca_file",
    "refresh",
    "algorithms",
    "name_claim",
    "name_prefix",
    "leeway",
    "rules",
)
_CLAIM_RULE: Final = ("claims", "allow", "speaks_for_others")


def read_providers(field: Field, folder: Path) -> tuple[Provider, ...]:
    """Return the identity providers; relative files are looked for in ``folder``.

    Raises:
        InvalidInput: Something in them can't be right, or two could give one name
            to different people.
    """
    found: list[Provider] = []
    for item in field.items("an entry of jwt"):
        provider = _read_provider(item, folder)
        for other in found:
            if other.issuer == provider.issuer:
                raise item.wrong(f"the issuer {provider.issuer!r} is there twice")
            prefixes = (other.name_prefix, provider.name_prefix)
            if prefixes[0].startswith(prefixes[1]) or prefixes[1].startswith(
                prefixes[0]
            ):
                raise item.wrong(
                    f"the issuers {other.issuer!r} and {provider.issuer!r} could give "
                    "one name to two people; give each a name_prefix, of which none "
                    "begins with the other"
                )
        found.append(provider)
    return tuple(found)


def _read_provider(item: Field, folder: Path) -> Provider:
    fields = item.fields(_PROVIDER, required=("issuer", "audience"))
    audience = fields["audience"]
    leeway = fields.get("leeway")
    prefix = fields.get("name_prefix")
    rules = fields.get("rules")
    return Provider(
        issuer=_filled(fields["issuer"]),
        audiences=_one_or_more(audience),
        place=_read_place(item, fields, folder),
        algorithms=_read_algorithms(fields.get("algorithms")),
        name_claim=_filled(fields["name_claim"]) if "name_claim" in fields else "sub",
        name_prefix="" if prefix is None else prefix.text(),
        leeway_s=_LEEWAY_S if leeway is None else read_duration(leeway, "0s", "5m"),
        rules=()
        if rules is None
        else tuple(_read_rule(rule) for rule in rules.items("a rule of jwt")),
    )


def _read_place(item: Field, fields: dict[str, Field], folder: Path) -> KeyPlace:
    """Return where the keys are; a file, or an address that may be trusted."""
    if ("jwks_file" in fields) == ("jwks_url" in fields):
        raise item.wrong("an entry of jwt needs either jwks_file or jwks_url")
    refresh = fields.get("refresh")
    refresh_s = _REFRESH_S if refresh is None else read_duration(refresh, "10s", "24h")
    authorities = fields.get("jwks_ca_file")
    if "jwks_file" in fields:
        if authorities is not None:
            raise authorities.wrong("jwks_ca_file is for a jwks_url")
        file = folder / _filled(fields["jwks_file"])
        return KeyPlace(file, "", None, refresh_s)
    address = fields["jwks_url"]
    try:
        check_url(address.text())
    except ValueError as error:
        raise address.wrong(f"jwks_url {error}") from None
    ca_file = None if authorities is None else _read_authorities(authorities, folder)
    return KeyPlace(None, address.text(), ca_file, refresh_s)


def _read_authorities(field: Field, folder: Path) -> Path:
    path = folder / _filled(field)
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise field.wrong(f"{field.name}: {str(path)!r} has no certificate") from None
    except OSError as error:
        raise field.wrong(
            f"{field.name}: can't read {str(path)!r}: {error.strerror}"
        ) from None
    return path


def _read_algorithms(field: Field | None) -> tuple[str, ...]:
    if field is None:
        return ALGORITHMS
    texts = field.texts()
    for text, item in texts:
        if text not in ALGORITHMS:
            raise item.wrong(
                f"the algorithm {text!r} is not one that only the issuer can sign "
                f"with; {nearest(text, ALGORITHMS)}"
            )
    if not texts:
        raise field.wrong("algorithms must name one at least")
    return tuple(text for text, _ in texts)


def _read_rule(item: Field) -> ClaimRule:
    fields = item.fields(_CLAIM_RULE, required=("allow",))
    speaks = fields.get("speaks_for_others")
    claims = fields.get("claims")
    return ClaimRule(
        ()
        if claims is None
        else tuple((name, frozenset(_one_or_more(f))) for name, f in claims.pairs()),
        read_rules(fields["allow"]),
        speaks is not None and speaks.flag(),
    )


def _one_or_more(field: Field) -> tuple[str, ...]:
    """Return the texts of a list, or one text."""
    if not field.is_list:
        return (_filled(field),)
    texts = tuple(text for text, _ in field.texts())
    if not texts:
        raise field.wrong(f"{field.name} must name one at least")
    return texts


def _filled(field: Field) -> str:
    text = field.text()
    if not text:
        raise field.wrong(f"{field.name} must not be empty")
    return text
