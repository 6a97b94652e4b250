#!/usr/bin/env python3
"""Checks the test vectors with a verifier written from docs/trust.md alone.

Standard library only; slow and not constant-time, for checking public data. Run it with the files
of tests/vectors/ as arguments, or with none to check them all.
"""
import base64
import hashlib
import ipaddress
import json
import os
import re
import sys


class Refused(Exception):
    """A refusal; its text is the reason of docs/trust.md."""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def key_id(key):
    return sha256(key)[:8]


# --- Ed25519 (RFC 8032), strict -----------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def mul(s, p):
    q = NEUTRAL
    while s:
        if s & 1:
            q = add(q, p)
        p, s = add(p, p), s >> 1
    return q


def decode_point(raw):
    """The point, or None. y is taken modulo p, as the page says; the caller compares encodings."""
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number % 2**255 % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    if (x * x - square) % P:
        return None
    if x & 1 != sign:
        x = -x % P
    return x, y, 1, x * y % P


def encode_point(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def small_order(p):
    x, y, z, _ = mul(8, p)
    return x % P == 0 and (y - z) % P == 0


def enrollable(key):
    point = decode_point(key)
    return point is not None and encode_point(point) == key and not small_order(point)


BASE = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
CACHE = {}


def verify(key, message, signature):
    if (key, message, signature) not in CACHE:
        CACHE[key, message, signature] = verify_strict(key, message, signature)
    return CACHE[key, message, signature]


def verify_strict(key, message, signature):
    r_raw, s = signature[:32], int.from_bytes(signature[32:], "little")
    r = decode_point(r_raw)
    if s >= L or not enrollable(key) or r is None or small_order(r):
        return False
    k = int.from_bytes(hashlib.sha512(r_raw + key + message).digest(), "little") % L
    x, y, z, t = decode_point(key)
    return encode_point(add(mul(s, BASE), mul(k, (-x % P, y, z, -t % P)))) == r_raw


# --- Section 2: envelope ------------------------------------------------------------------------

ROOT, CERTIFICATE, DELTA, SNAPSHOT, HEARTBEAT, HINTS = range(1, 7)
NAMES = {1: "root", 2: "device-certificate", 3: "revocation-delta", 4: "revocation-snapshot", 5: "heartbeat"}


def need(condition, reason):
    if not condition:
        raise Refused(reason)


class Envelope:
    def __init__(self, wire, kind):
        need(len(wire) >= 1, "truncated")
        need(wire[0] == 1, "unsupported_version")
        need(len(wire) >= 2, "truncated")
        need(wire[1] != HINTS, "reserved_kind")
        need(wire[1] == kind, "wrong_kind")
        start = 6 if kind == SNAPSHOT else 4
        need(len(wire) >= start, "truncated")
        length = int.from_bytes(wire[2:start], "big")
        need(length <= (8_200_256 if kind == SNAPSHOT else 1024), "body_too_long")
        end = start + length
        need(len(wire) > end, "truncated")
        count = wire[end]
        need(1 <= count <= (2 if kind == ROOT else 1), "signature_count")
        need(len(wire) <= end + 1 + 72 * count, "trailing_bytes")
        need(len(wire) == end + 1 + 72 * count, "truncated")
        self.kind, self.covered, self.body = kind, wire[:end], wire[start:end]
        parts = [wire[end + 1 + 72 * i:][:72] for i in range(count)]
        self.signatures = [(part[:8], part[8:]) for part in parts]

    def verify(self, key, index=0):
        context = b"homing/" + NAMES[self.kind].encode() + b"/v1\0"
        return verify(key, context + self.covered, self.signatures[index][1])


# --- Section 3: body ----------------------------------------------------------------------------

class Body:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, count):
        need(self.at + count <= len(self.raw), "body_truncated")
        self.at += count
        return self.raw[self.at - count:self.at]

    def head(self, want):
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        need(major != 6, "tag")
        need(major != 7, "float_or_simple")
        need(info not in (28, 29, 30), "malformed_head")
        need(info != 31, "indefinite_length")
        need(major == want, "wrong_type")
        if info < 24:
            return info
        value = int.from_bytes(self.take(1 << info - 24), "big")
        need(value >= {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}[info], "not_shortest")
        return value

    def u64(self):
        return self.head(0)

    def u32(self):
        value = self.head(0)
        need(value < 1 << 32, "out_of_range")
        return value

    def fixed(self, length):
        value = self.take(self.head(2))
        need(len(value) == length, "wrong_length")
        return value

    def b16(self):
        return self.fixed(16)

    def b32(self):
        return self.fixed(32)

    def array(self, least, most, item):
        count = self.head(4)
        need(least <= count <= most, "count")
        return [item() for _ in range(count)]

    def version(self):
        need(self.u64() == 1, "unsupported_body_version")


def read_body(raw, table, reserved=(), optional=()):
    """Reads the map; `table` is a list of (key, name, reader) and readers take the body."""
    body, fields, last, at = Body(raw), {}, -1, 0
    for _ in range(body.head(5)):
        key = body.u64()
        need(key != last, "duplicate_key")
        need(key > last, "unsorted_keys")
        need(key not in reserved, "reserved_field")
        need(key in [known for known, _, _ in table], "unknown_key")
        while table[at][0] != key:
            need(table[at][0] in optional, "missing_key")
            at += 1
        fields[table[at][1]] = table[at][2](body)
        last, at = key, at + 1
    need(at == len(table), "missing_key")
    need(body.at == len(raw), "trailing_body_bytes")
    return fields


# --- Section 4: root documents ------------------------------------------------------------------

def read_signer(body):
    need(body.head(4) == 3, "count")
    return {"key": body.b32(), "not_before": body.u64(), "not_after": body.u64()}


ROOT_TABLE = [
    (0, "version", Body.version),
    (1, "network_id", Body.b16),
    (2, "epoch", Body.u32),
    (3, "signers", lambda body: body.array(1, 8, lambda: read_signer(body))),
    (4, "roots", lambda body: body.array(1, 8, body.b32)),
    (5, "coordinators", lambda body: body.array(1, 8, body.b32)),
]


class Chain:
    def __init__(self, wires, expected=None):
        need(wires, "empty_chain")
        self.current, self.wires, self.network_id = None, [], expected
        for wire in wires:
            self.extend(wire)

    def extend(self, wire):
        envelope = Envelope(wire, ROOT)
        document = read_body(envelope.body, ROOT_TABLE, (6, 7), (1,))
        need(len(document["signers"]) == 1, "several_signers")
        need(len(document["roots"]) == 1, "several_roots")
        for signer in document["signers"]:
            life = signer["not_after"] - signer["not_before"]
            need(0 < life <= 316_224_000, "bad_signer_window")
        coordinators = document["coordinators"]
        for key in [signer["key"] for signer in document["signers"]] + document["roots"] + coordinators:
            need(enrollable(key), "weak_key")
        need(len(set(coordinators)) == len(coordinators), "duplicate_coordinator")
        epoch, named = document["epoch"], document.get("network_id")
        need(epoch != 0, "epoch_zero")
        need(epoch != 1 or named is None, "genesis_names_network")
        need(epoch == 1 or named is not None, "network_missing")
        required = set(document["roots"])
        if self.current is None:
            need(epoch == 1, "not_genesis")
            own = sha256(b"homing/network-id/v1\0", envelope.body)[:16]
            need(self.network_id in (None, own), "wrong_network")
            self.network_id = own
        else:
            need(named in (None, self.network_id), "wrong_network")
            need(epoch > self.current["epoch"], "rollback")
            need(epoch == self.current["epoch"] + 1, "epoch_gap")
            need(len(self.wires) < 256, "chain_too_long")
            required |= set(self.current["roots"])
        given = [signature[0] for signature in envelope.signatures]
        need(given == sorted(set(given)), "signature_order")
        required = {key_id(root): root for root in required}
        need(all(one in required for one in given), "unknown_root")
        for one in sorted(required):
            need(one in given, "missing_signature")
            need(envelope.verify(required[one], given.index(one)), "bad_signature")
        self.current = document
        self.wires.append(wire)

    def offer(self, wire):
        """A document from a peer's chain, which may be known."""
        epoch = read_body(Envelope(wire, ROOT).body, ROOT_TABLE, (6, 7), (1,))["epoch"]
        if epoch > self.current["epoch"]:
            self.extend(wire)
        else:
            need(self.wires[epoch - 1] == wire, "fork")

    def signer(self, wanted):
        return next((s for s in self.current["signers"] if key_id(s["key"]) == wanted), None)


def holds(signer, time):
    return signer["not_before"] <= time < signer["not_after"]


# --- Section 5: certificates --------------------------------------------------------------------

ROLES = ["client", "node", "bridge", "agent", "admin"]
CEILINGS = {
    "client": "audit.read chat config.read devices.read exec.approve exec.request files invite jobs "
              "messages push status.read tasks terminal vault workflows".split(),
    "node": ["status.read"],
    "bridge": ["chat"],
    "agent": ["devices.revoke", "status.read"],
    "admin": ["*"],
}


def read_handle(body):
    value = body.take(body.head(3))
    need(re.fullmatch(rb"[a-z0-9._-]{1,64}", value), "bad_handle")
    return value.decode()


def read_role(body):
    value = body.u64()
    need(value < len(ROLES), "unknown_role")
    return ROLES[value]


def read_scopes(body):
    scopes = []

    def one():
        value = body.take(body.head(3))
        need(re.fullmatch(rb"[a-z0-9._*-]{1,32}", value), "bad_scope")
        need(not scopes or scopes[-1] < value.decode(), "unsorted_scopes")
        scopes.append(value.decode())

    body.array(0, 32, one)
    return scopes


CERTIFICATE_TABLE = [
    (0, "version", Body.version),
    (1, "network_id", Body.b16),
    (2, "serial", Body.b16),
    (3, "device", Body.b32),
    (4, "user_id", Body.b16),
    (5, "handle", read_handle),
    (6, "role", read_role),
    (7, "scopes", read_scopes),
    (8, "issued_at", Body.u64),
    (9, "not_before", Body.u64),
    (10, "not_after", Body.u64),
    (11, "generation", Body.u32),
    (12, "root_epoch", Body.u32),
]
REVOKED = 2**32 - 1


def read_certificate(raw):
    fields = read_body(raw, CERTIFICATE_TABLE, (13,))
    need(fields["generation"] != REVOKED, "reserved_generation")
    return fields


def covers(grant, scope):
    parent = grant[:-2] if grant.endswith(".*") else grant
    return grant in ("*", scope) or scope.startswith(parent + ".")


def effective_rights(role, scopes):
    ceiling = CEILINGS[role]
    both = {s for s in scopes if any(covers(c, s) for c in ceiling)}
    return sorted(both | {c for c in ceiling if c != "*" and any(covers(s, c) for s in scopes)})


def open_signed(chain, wire, kind, read):
    """Steps 1 to 4 of section 5 and of section 6."""
    envelope = Envelope(wire, kind)
    signer = chain.signer(envelope.signatures[0][0])
    if signer is None:
        try:
            need(read(envelope.body)["network_id"] == chain.network_id, "wrong_network")
        except Refused as refused:
            need(str(refused) != "wrong_network", "wrong_network")
        raise Refused("unknown_signer")
    need(envelope.verify(signer["key"]), "bad_signature")
    return envelope, signer, read(envelope.body)


def check_origin(chain, fields):
    need(fields["network_id"] == chain.network_id, "wrong_network")
    need(fields["root_epoch"] <= chain.current["epoch"], "root_epoch_ahead")


def verify_certificate(chain, wire):
    _, signer, fields = open_signed(chain, wire, CERTIFICATE, read_certificate)
    check_origin(chain, fields)
    need(enrollable(fields["device"]), "weak_key")
    need(fields["not_before"] == fields["issued_at"] - 300, "wrong_backdate")
    need(fields["not_after"] > fields["issued_at"], "empty_life")
    need(fields["not_after"] - fields["not_before"] <= 2_678_400, "life_too_long")
    need(holds(signer, fields["issued_at"]), "outside_signer_window")
    return fields, signer["key"]


def check_certificate(log, fields, signer_key, peer, now):
    need(fields["device"] == peer, "wrong_key")
    check_origin(log.chain, fields)
    signer = log.chain.signer(key_id(signer_key))
    need(signer is not None, "unknown_signer")
    need(holds(signer, fields["issued_at"]), "outside_signer_window")
    least = log.entries.get(peer, 0)
    need(least != REVOKED, "revoked")
    need(fields["generation"] >= least, "superseded")
    need(now >= fields["not_before"], "not_yet_valid")
    need(now < fields["not_after"] + 300, "expired")


# --- Section 6: the log -------------------------------------------------------------------------

def read_entries(least, most):
    def read(body):
        entries = []

        def one():
            need(body.head(4) == 3, "count")
            device, generation = body.b32(), body.u32()
            need(generation != 0, "out_of_range")
            need(body.u64() <= 5, "unknown_revoke_reason")
            need(not entries or entries[-1][0] < device, "unsorted_entries")
            entries.append((device, generation))

        body.array(least, most, one)
        return entries

    return read


LOG_TABLE = [
    (0, "version", Body.version),
    (1, "network_id", Body.b16),
    (2, "root_epoch", Body.u32),
    (3, "seq", Body.u64),
    (4, "hash", Body.b32),
    (5, "time", Body.u64),
]


def read_delta(raw):
    fields = read_body(raw, LOG_TABLE + [(6, "entries", read_entries(1, 16))])
    need(fields["seq"] != 0, "seq_zero")
    return fields


def read_snapshot(raw):
    return read_body(raw, LOG_TABLE + [(6, "entries", read_entries(0, 200_000))])


def read_heartbeat(raw):
    return read_body(raw, LOG_TABLE)


READERS = {DELTA: read_delta, SNAPSHOT: read_snapshot, HEARTBEAT: read_heartbeat}


class Log:
    def __init__(self, chain):
        self.chain, self.place, self.hash = chain, (1, 0), bytes(32)
        self.entries, self.newest, self.beat = {}, 0, None

    def open(self, wire, kind):
        envelope, signer, fields = open_signed(self.chain, wire, kind, READERS[kind])
        check_origin(self.chain, fields)
        need(holds(signer, fields["time"]), "outside_signer_window")
        return envelope, fields

    def apply(self, wire):
        kind = wire[1] if len(wire) > 1 and wire[0] == 1 else DELTA
        need(kind not in (ROOT, CERTIFICATE), "not_a_log_document")
        kind = kind if kind in READERS else DELTA
        envelope, fields = self.open(wire, kind)
        place, digest, time = (fields["root_epoch"], fields["seq"]), fields["hash"], fields["time"]
        if kind == DELTA:
            digest = sha256(b"homing/log-hash/v1\0", envelope.covered)
        need(place != self.place or digest == self.hash, "equivocation")
        raised = dict(self.entries)
        if kind == HEARTBEAT:
            need(place <= self.place, "gap")
            if place < self.place:
                need(place[0] != self.place[0] or time <= self.newest, "rollback")
                return "old"
            need(self.beat is None or time >= self.beat, "not_later")
            if time == self.beat:
                return "old"
            self.beat = time
        elif place <= self.place:
            return "old"
        elif kind == DELTA:
            need(place == (self.place[0], self.place[1] + 1), "gap")
            need(fields["hash"] == self.hash, "equivocation")
        elif place[0] > self.place[0]:
            raised, self.newest, self.beat = {}, 0, None
        for device, generation in fields.get("entries", []):
            raised[device] = max(raised.get(device, 0), generation)
        need(len(raised) <= 200_000, "full")
        self.entries, self.place, self.hash = raised, place, digest
        self.newest = max(self.newest, time)
        return {DELTA: "delta", SNAPSHOT: "snapshot", HEARTBEAT: "heartbeat"}[kind]

    def proof(self, device, wire):
        _, fields = self.open(wire, DELTA)
        need(device in [entry[0] for entry in fields["entries"]], "not_named")


# --- Section 8: tickets and check codes ---------------------------------------------------------

def read_ticket(text):
    need(len(text.encode()) <= 4096, "too_long")
    text = "".join(text.split())
    need(text[:6].upper() == "HOMING", "wrong_kind")
    digits = text[6:].upper()
    try:
        raw = base64.b32decode(digits + "=" * (-len(digits) % 8))
    except ValueError:
        raise Refused("not_base32") from None
    need(base64.b32encode(raw).decode().rstrip("=") == digits, "not_base32")
    need(raw, "garbled")
    need(raw[0] == 1, "unsupported_version")
    need(len(raw) >= 4 and raw[-4:] == sha256(b"homing/ticket/v1\0", raw[:-4])[:4], "garbled")
    rest = raw[1:-4]

    def take(count):
        nonlocal rest
        need(len(rest) >= count, "wrong_length")
        value, rest = rest[:count], rest[count:]
        return value

    fields = {"coordinator": take(32).hex(), "network_id": take(16).hex(), "invite_id": take(8).hex()}
    secret = take(16)
    relay = take(take(1)[0])
    need(all(0x21 <= byte <= 0x7E for byte in relay), "bad_relay")
    count = take(1)[0]
    need(count <= 8, "too_many_addresses")
    addresses = []
    for _ in range(count):
        family = take(1)[0]
        need(family in (4, 6), "bad_address")
        ip = ipaddress.ip_address(take(4 if family == 4 else 16))
        port = int.from_bytes(take(2), "big")
        need(port, "bad_address")
        addresses.append([str(ip), port])
    need(not rest, "wrong_length")
    return {**fields, "secret": secret.hex(), "secret_digest": sha256(secret).hex(),
            "relay": relay.decode() or None, "addresses": addresses}


ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"


def check_code(*parts):
    number = int.from_bytes(sha256(b"homing/check-code/v1\0", *parts)[:8], "big") % 20**8
    letters = "".join(ALPHABET[number // 20**place % 20] for place in reversed(range(8)))
    return letters[:4] + "-" + letters[4:]


def normalize(typed):
    letters = "".join(typed.split()).replace("-", "").upper()
    if len(letters) != 8 or any(letter not in ALPHABET for letter in letters):
        return None
    return letters[:4] + "-" + letters[4:]


# --- The vectors --------------------------------------------------------------------------------

UPGRADE = {"unsupported_version", "unsupported_body_version", "several_roots", "several_signers"}
CODES = {
    "unknown_signer": "unknown_signer", "root_epoch_ahead": "unknown_signer",
    "wrong_network": "wrong_network", "wrong_key": "wrong_key", "revoked": "revoked",
    "expired": "cert_expired", "superseded": "cert_expired", "not_yet_valid": "cert_not_yet_valid",
}
OWN_CODES = {
    "root.json": {"rollback": "unknown_signer", "epoch_gap": "unknown_signer"},
    "log.json": {"gap": "stale_policy", "rollback": "stale_policy", "not_later": "stale_policy"},
}


def code_of(file, reason):
    if reason in UPGRADE:
        return "upgrade_required"
    return OWN_CODES.get(file, {}).get(reason) or CODES.get(reason, "cert_invalid")


def unhex(value):
    return [bytes.fromhex(one) for one in value] if isinstance(value, list) else bytes.fromhex(value)


def expect(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r} instead of {wanted!r}")


def run_root(case, _):
    expected = case["expected_network"]
    chain = Chain(unhex(case["chain"]), expected and unhex(expected))
    if "offered" in case:
        chain.offer(unhex(case["offered"]))
    expect(chain.network_id.hex(), case.get("network_id"), "network_id")
    expect(chain.current["epoch"], case.get("epoch"), "epoch")
    return "ok"


def log_before(case, chains):
    log = Log(Chain(unhex(chains[case["chain"]])))
    for wire in unhex(case["log"]):
        log.apply(wire)
    for wire in unhex(case.get("extend", [])):
        log.chain.extend(wire)
    return log


def run_certificate(case, chains):
    log = log_before(case, chains)
    fields, signer = verify_certificate(log.chain, unhex(case["wire"]))
    check_certificate(log, fields, signer, unhex(case["peer"]), case["now"])
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    del shown["version"]
    shown["effective_rights"] = effective_rights(fields["role"], fields["scopes"])
    expect(shown, case.get("fields"), "fields")
    return "ok"


def run_log(case, chains):
    log = log_before(case, chains)
    if "device" in case:
        log.proof(unhex(case["device"]), unhex(case["wire"]))
        return "ok"
    result = log.apply(unhex(case["wire"]))
    after = {
        "head": {"root_epoch": log.place[0], "seq": log.place[1], "hash": log.hash.hex()},
        "entries": [[device.hex(), least] for device, least in sorted(log.entries.items())],
        "newest_signed_time": log.newest,
        "last_heartbeat": log.beat,
    }
    expect(after, case.get("after"), "after")
    return result


def run_ticket(case, _):
    expect(read_ticket(case["text"]), case.get("fields"), "fields")
    return "ok"


def run_check_code(case, _):
    parts = [unhex(case[name]) for name in ("network_id", "invite_id", "device", "coordinator")]
    expect(check_code(*parts), case["code"], "code")
    for typed, meant in case["typed"]:
        expect(normalize(typed), meant, typed)
    return "ok"


RUNNERS = {
    "root.json": run_root,
    "certificate.json": run_certificate,
    "log.json": run_log,
    "ticket.json": run_ticket,
    "check_code.json": run_check_code,
}


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors")
    count = failures = 0
    for path in sys.argv[1:] or [os.path.join(folder, file) for file in RUNNERS]:
        file = os.path.basename(path)
        with open(path, encoding="utf-8") as opened:
            content = json.load(opened)
        for case in content["cases"]:
            count += 1
            try:
                try:
                    got = RUNNERS[file](case, content.get("chains"))
                except Refused as refused:
                    got = str(refused)
                    if "code" in case:
                        expect(code_of(file, got), case["code"], "code of " + got)
                expect(got, case.get("result", "ok"), "result")
            except AssertionError as failure:
                failures += 1
                print(f"{file}: {case['name']}: {failure}")
    print(f"{count - failures} cases agree, {failures} do not")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
