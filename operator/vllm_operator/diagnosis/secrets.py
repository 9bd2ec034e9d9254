"""Mask secrets in text of others: by the shape of well-known tokens, and by the name that stands before a value.

Every pattern here takes time linear in the text: it starts at a literal or at the start of a word, and its repeats
exclude what follows them.
"""

from __future__ import annotations

import re

MASK = "***"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PREFIXES = (
    # Prefixes that issuers publish, most of them listed in the rules of gitleaks as well.
    r"sk-|sk_(?:live|test)_|rk_(?:live|test)_|pk_live_|whsec_|gh[pousr]_|github_pat_|gl(?:pat|dt|rt|ptt|cbt|ffct|ft|imt|agent|oas|soat)-"
    r"|GR1348941|xox[a-z](?:\.xox[a-z])?-|xapp-|npm_|pypi-|do[opr]_v1_|shp(?:at|ca|pa|ss)_|dapi(?=[0-9a-f]{8})|hv[sbr]\.|glsa_|glc_"
    r"|lin_api_|dckr_(?:pat|oat)_|nvapi-|r8_|gsk_|pplx-|pul-|pnu_|PMAK-|NRAK-|NRII-|rubygems_|sntry[su]_|SG\.|ATATT3"
    r"|AKCp|sha256~|tfp_|ntn_|fo1_|fm[12]r?_|dp\.[a-z]{2}\.|dt0c01\.|pscale_[a-z]{2,5}_|figd_|sq0[a-z]{3}-|EZ[AT]K"
    r"|HRKU-|ABSK|p8e-|v1\.0-(?=[0-9a-f]{24})|xai-|tvly-|ya29\.|AGE-SECRET-KEY-|LTAI|AIza|bedrock-api-key-|cmVmd"
)
_SHAPED = re.compile(rf"(?<![A-Za-z0-9])({_PREFIXES})([A-Za-z0-9_\-./+~]{{6,}}={{0,3}})")
_HUGGING_FACE = re.compile(r"(?<![A-Za-z0-9])(hf_|api_org_)([A-Za-z0-9]{6,})")
_AWS_KEY_ID = re.compile(r"(?<![A-Za-z0-9])((?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,})")
_JWT = re.compile(r"(?<![A-Za-z0-9])(?:eyJ|ZXlK)[A-Za-z0-9_\-+/=.]{8,}")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----)[\s\S])*(?:-----END [A-Z0-9 ]{0,60}-----)?"
)
_USER_INFO = re.compile(r"://(?!git@)[^/\s?#\"'<>@]{1,512}(?:@[^/\s?#\"'<>@]{1,512}){0,8}@")
_WEBHOOK = re.compile(r"((?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks)/)[^\s\"'<>]+")
_AUTHORIZATION = re.compile(
    r"((?:proxy-|x-)?authorization\\?[\"']?\s{0,4}[:=,]\s{0,4}\\?[\"']?)((?:[A-Za-z][\w\-]{1,30}\s{1,4})?)"
    r"[^\s\"',\\]{1,4096}",
    re.IGNORECASE,
)
_SCHEMES = {"basic", "bearer", "token", "apikey", "digest", "negotiate", "aws4-hmac-sha256"}
_SCHEME = re.compile(r"\b((?:Bearer|Basic|Token|ApiKey|Negotiate)\s{1,4})([^\s\"',;\\]{6,})", re.IGNORECASE)

_NAME_ENDS = (
    *("token", "tokn", "secret", "password", "passwd", "passphrase", "passcode", "pwd", "pass", "key", "keys", "creds"),
    *("credential", "credentials", "signature", "sig", "auth", "cookie", "session", "sessionid", "jwt", "bearer"),
    *("connectionstring", "connection_string", "keydata", "key-data", "key_data"),
)
"""Ends of the names of secrets: a quick test before the name is taken apart."""

_NAMED = re.compile(
    r"(?<![\w.\-])([\w.\-]++)"
    rf"(?:{'|'.join(f'(?<={end})' for end in _NAME_ENDS)})"
    # YAML, JSON, env, Python; `name: X, value: Y` of Kubernetes; `--flag value`, alone or in a list of arguments.
    r"(\\?[\"']?\s{0,4},?\s{0,4}\\?[\"']?value\\?[\"']?\s{0,4}[:=]\s{0,4}|\\?[\"']?\s{0,4}(?::=|=>|[=:])\s{0,4}"
    r"|\\?[\"']\s{0,4},\s{0,4}|\s{1,4})",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"\[[^\]]{0,4096}\]?|\\?\"(?:[^\"\\]|\\[^\"])*\\?\"?|\\?'(?:[^'\\]|\\[^'])*\\?'?"
    r"|\((?:[^)\s]{0,4096})\)?|\{[^}\s]{0,4096}\}?|[^\s\"'&]+"
)
_PASSWORDS = ("password", "passwd", "passphrase", "passcode", "pwd")
_STRONG_ENDS = (
    *("token", "tokn", "secret", "credential", "credentials", "creds", "signature", "connectionstring", "keydata"),
    *(
        f"{word}{key}"
        for key in ("key", "keys")
        for word in ("api", "access", "private", "secret", "account", "shared")
    ),
    *(f"{word}key" for word in ("encryption", "master", "signing", "license", "storage", "webhook")),
)
"""Ends of names, without their separators, whose value is masked whatever it looks like."""

_WEAK_WORDS = {"key", "keys", "auth", "cookie", "session", "sessionid", "sig", "pass", "jwt", "bearer"}
"""Last words of names whose value is masked when it looks generated."""

_SPECIAL_TOKENS = _words(
    "bos eos pad unk sep cls mask image img audio video speech boi eoi stop next special start end begin think "
    "thinking reasoning tool call prompt per each first last new output input out in max min bad draft any current "
    "previous invalid unexpected"
)
"""Words before `token` that make it a token of a language model."""

_HARMLESS_KEYS = _words(
    "cache public primary foreign sort hash group partition label lookup block routing row kv config dict state "
    "weight param node topology idempotency selector merge taint map index registry missing unknown duplicate "
    "unexpected weights"
)
"""Words before `key` that make it the key of a table or a mapping."""

_NO_SECRETS = _words(
    "none null nil true false auto yes no off on unset empty missing invalid required expected expects is was are "
    "must may can cannot not and or the a an in to for of by from with given need needs flag argument option value "
    "values wrong expired denied refused found failed error requires provided supplied specified set does has should "
    "will redacted hidden masked placeholder str string int bool optional unknown default at if only unable "
    "authentication authorization auth api_key token password secret"
)
"""Values and words of sentences that are no secrets."""

_REFERENCES = ("$", "<", "{{", "%", "*", "/", "secretkeyref", "valuefrom")
"""Beginnings of values that refer to a secret, or stand for one."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORD_GAP = re.compile(r"[_\-./ ]")
_NAME_LENGTH = 64
_NUMBER = re.compile(r"[\d.,+\-]{1,12}(?:[mu]?s|[KMGT]i?B?|%|x|tokens?)?$")
_QUOTES = "\\\"'`[](){}.,:;!"
_SHORT_VALUE = 64
"""Characters up to which a value is examined: a longer one behind the name of a secret is always masked."""


def mask_secrets(text: str) -> str:
    """Return `text` with `***` for everything that looks like a token, a key or a password.

    The time is linear in the length of the text; callers bound that length.
    """
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _USER_INFO.sub(f"://{MASK}@", text)
    text = _AUTHORIZATION.sub(_mask_authorization, text)
    text = _SCHEME.sub(lambda found: found[1] + MASK if is_random(found[2]) else found[0], text)
    text = _JWT.sub(MASK, text)
    text = _AWS_KEY_ID.sub(MASK, text)
    text = _WEBHOOK.sub(rf"\1{MASK}", text)
    for shape in (_HUGGING_FACE, _SHAPED):
        text = shape.sub(lambda found: MASK if is_random(found[2]) else found[0], text)
    return _mask_named(text)


def _mask_authorization(found: re.Match[str]) -> str:
    return found[1] + (found[2] if found[2].strip().lower() in _SCHEMES else "") + MASK


def _mask_named(text: str) -> str:
    """Mask the values behind names such as `HF_TOKEN=`, `"password": ` and `--api-key `."""
    parts, done, position = [], 0, 0
    while found := _NAMED.search(text, position):
        position = found.end()
        name, separator = found[1], found[2]
        is_assigned = any(sign in separator for sign in "=:")
        # Only a flag is parted from its value by a space, or by the comma of a list of arguments.
        if not is_assigned and not name.startswith("-"):
            continue
        strength = _strength(name, is_parameter=text[found.start() - 1 : found.start()] in {"?", "&"})
        value = _VALUE.match(text, position) if strength else None
        if value is None or not _is_secret(strength, value[0], _is_prose(name, separator, value[0])):
            continue
        parts += [text[done:position], MASK]
        done = position = value.end()
    return "".join([*parts, text[done:]])


def _strength(name: str, *, is_parameter: bool) -> str:
    """Return how surely a name is that of a secret: `password`, `strong`, `weak` or empty."""
    words = [word.lower() for word in _WORD.findall(name[-_NAME_LENGTH:])]
    whole, last, before = "".join(words), words[-1], words[-2] if len(words) > 1 else ""
    if whole.endswith(_PASSWORDS):
        return "password"
    if last in {"token", "tokens"} and before in _SPECIAL_TOKENS:
        return ""
    if last in {"key", "keys"} and (before in _HARMLESS_KEYS or (not before and not is_parameter)):
        return ""
    if whole.endswith(_STRONG_ENDS):
        return "strong"
    return "weak" if last in _WEAK_WORDS else ""


def _is_secret(strength: str, value: str, is_prose: bool) -> bool:
    if len(value) > _SHORT_VALUE:
        return True
    bare = value.strip(_QUOTES)
    if len(bare) < 2 or bare.lower() in _NO_SECRETS or bare.lower().startswith(_REFERENCES):
        return False
    if strength == "password":
        return True
    if strength == "strong" and not is_prose:
        return len(bare) >= 4 and not _NUMBER.match(bare)
    return is_random(bare) and not _NUMBER.match(bare)


def _is_prose(name: str, separator: str, value: str) -> bool:
    """Return True for `token: word` and `PullSecret: word`, which sentences have; not for `HF_TOKEN: word`."""
    is_word = name.isalpha() and (name.islower() or name[0].isupper() != name.isupper())
    return is_word and "=" not in separator and value[0] not in "\"'[\\" and separator[:1] not in "\"'\\"


def is_random(text: str) -> bool:
    """Return True when a value looks generated: at least 6 characters with digits or of both cases, or 20 without."""
    if text.startswith("/") or "://" in text or len(text) < 6:
        return False
    letters = "".join(filter(str.isalpha, text))
    if any(map(str.isdigit, text)):
        return bool(letters) or len(text) >= 16
    # `Mistral` and `TRUE` are words; `aBc` is none.
    has_both_cases = letters[1:] != letters[1:].lower() and letters != letters.upper()
    return has_both_cases or (len(text) >= 20 and not _WORD_GAP.search(text))
