"""Which settings exist, what do they mean, and what are they when nobody says anything?

Sections are frozen structs; every field carries its own description, from which ``mesh config view`` and the reference
page are made. Money is decimal text in whole tokens outside and ``Tokens`` (wei) inside. No field is a secret: a file
that holds one is named by its path.
"""

import typing
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation, localcontext
from functools import cache
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from mesh.base.config.checks import (
    check_address,
    check_fee,
    check_gpus,
    check_listen,
    check_network,
    check_peers,
    check_unique,
    check_urls,
)
from protocols.units import PPM, WEI_PER_TOKEN, ZERO_ADDRESS, Address, Tokens

__all__ = [
    "Api",
    "Beacon",
    "Chain",
    "Client",
    "Config",
    "Dispute",
    "Key",
    "Log",
    "Network",
    "Provider",
    "Setting",
    "Store",
    "convert_leaf",
    "settings",
    "tokens_text",
]

T = TypeVar("T")
_TOKEN_DECIMALS: Final = 18
_AtLeastOne = Annotated[int, Meta(ge=1)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration file."""


class Network(_Section, frozen=True, kw_only=True):
    """Which network to join, and how other nodes reach this one."""

    name: Annotated[str, Meta(description="Network to join; nodes of different networks never meet.")] = (
        "arbitrum-sepolia"
    )
    bootstrap: Annotated[tuple[str, ...], Meta(description="Multiaddrs with /p2p/ of peers to dial first.")] = ()
    listen: Annotated[tuple[str, ...], Meta(description="Multiaddrs to listen on; port 0 takes any free one.")] = (
        "/ip4/0.0.0.0/tcp/4021",
    )
    announce: Annotated[
        tuple[str, ...], Meta(description="Multiaddrs to tell others; empty: those listened on and seen by peers.")
    ] = ()
    mdns: Annotated[bool, Meta(description="Find peers on the local network by multicast.")] = True


class Chain(_Section, frozen=True, kw_only=True):
    """Which chain holds the money, and how to reach it."""

    preset: Annotated[str, Meta(description="Preset for the chain; empty: the one named like the network.")] = ""
    rpc: Annotated[tuple[str, ...], Meta(description="Your own JSON-RPC endpoints, tried before public_rpc.")] = ()
    public_rpc: Annotated[tuple[str, ...], Meta(description="Public endpoints, normally from the preset.")] = ()
    chain_id: Annotated[int, Meta(description="Chain id an endpoint must have; 0: the network's.", ge=0)] = 0
    escrow: Annotated[str, Meta(description="Address of the escrow contract; empty: the preset's.")] = ""
    token: Annotated[str, Meta(description="Address of the token contract; empty: the preset's.")] = ""
    panel: Annotated[str, Meta(description="Address of the panel that judges disputes; empty: the preset's.")] = ""
    deploy_block: Annotated[int, Meta(description="Block of the escrow's deployment: logs are read from it.", ge=0)] = 0
    max_fee_gwei: Annotated[Decimal, Meta(description="Never pay more than this per unit of gas, in gwei.")] = Decimal(
        10
    )

    @property
    def escrow_address(self) -> Address:
        """``escrow`` as 20 bytes; zeros when it is not known."""
        return Address(bytes.fromhex(self.escrow[2:])) if self.escrow else ZERO_ADDRESS

    @property
    def token_address(self) -> Address:
        """``token`` as 20 bytes; zeros when it is not known."""
        return Address(bytes.fromhex(self.token[2:])) if self.token else ZERO_ADDRESS

    @property
    def panel_address(self) -> Address:
        """``panel`` as 20 bytes; zeros when there is none: then every deal enforces itself."""
        return Address(bytes.fromhex(self.panel[2:])) if self.panel else ZERO_ADDRESS


class Beacon(_Section, frozen=True, kw_only=True):
    """Where public randomness is fetched; it proves itself, so nobody needs to be trusted."""

    relays: Annotated[
        tuple[str, ...], Meta(description="drand HTTP relays of your own, asked beside the network's public ones.")
    ] = ()


Role = Literal["provider", "client", "mediator", "relay"]
ExecutorKind = Literal["wasm", "oci", "process"]


class Provider(_Section, frozen=True, kw_only=True):
    """What this node does for others, and for how much."""

    roles: Annotated[tuple[Role, ...], Meta(description="What the node does: provider, client, mediator, relay.")] = (
        "client",
    )
    executors: Annotated[
        tuple[ExecutorKind, ...], Meta(description="Ways to run jobs: wasm, oci, process. Offered only if probed well.")
    ] = ("wasm",)
    slots: Annotated[int, Meta(description="Jobs run at the same time.", ge=1, le=1024)] = 1
    cpus: Annotated[_AtLeastOne | None, Meta(description="Cores to rent out; unset: all of them.")] = None
    memory_mib: Annotated[_AtLeastOne | None, Meta(description="Memory to rent out, MiB; unset: three quarters.")] = (
        None
    )
    disk_mib: Annotated[int, Meta(description="Scratch space of all jobs together, MiB.", ge=16)] = 10_240
    gpus: Annotated[str, Meta(description="GPUs to rent out: all, none or indices such as 0,2.")] = "all"
    max_job_s: Annotated[int, Meta(description="Longest job taken, seconds.", ge=1)] = 3_600
    price_per_cpu_s: Annotated[Tokens, Meta(description="Ask per core and second, tokens.")] = Tokens(10**13)
    price_per_gib_s: Annotated[Tokens, Meta(description="Ask per GiB of memory and second, tokens.")] = Tokens(10**12)
    price_per_gpu_s: Annotated[Tokens, Meta(description="Ask per GPU and second, tokens.")] = Tokens(10**15)
    price_floor: Annotated[Tokens, Meta(description="Least price of any job, tokens.")] = Tokens(10**15)
    policy_file: Annotated[str, Meta(description="File that says which jobs this machine takes; empty: all.")] = ""


class Client(_Section, frozen=True, kw_only=True):
    """What a job gets when its file does not say."""

    max_price: Annotated[Tokens, Meta(description="Most to pay for one run when the job names no price, tokens.")] = (
        Tokens(WEI_PER_TOKEN)
    )
    bid_window_ms: Annotated[int, Meta(description="Longest wait for quotes, ms.", ge=50, le=60_000)] = 2_000
    audit_ppm: Annotated[
        Annotated[int, Meta(ge=0, le=PPM)] | None,
        Meta(description="Results to re-execute per million; unset: by the provider's record."),
    ] = None
    download_dir: Annotated[str, Meta(description="Folder for results; empty: ./results.")] = ""


class Dispute(_Section, frozen=True, kw_only=True):
    """What this node puts at stake when a panel judges its deals, as client or as provider."""

    appeal: Annotated[
        Literal["never", "when_sure", "always"],
        Meta(
            description="Deposit for a second panel: never; when_sure: to defend a verdict, or with two proofs; always."
        ),
    ] = "when_sure"
    max_deposit: Annotated[
        Tokens, Meta(description="Most to deposit for one appeal (seven seat fees), tokens; dearer ones are left.")
    ] = Tokens(100 * WEI_PER_TOKEN)


class Store(_Section, frozen=True, kw_only=True):
    """How much disk the node may use for itself."""

    blob_quota_mib: Annotated[int, Meta(description="Blobs kept, MiB; the oldest unused go first.", ge=16)] = 20_480
    journal_quota_mib: Annotated[int, Meta(description="Largest size of the store's file, MiB.", ge=4)] = 4_096
    trace_entries: Annotated[int, Meta(description="Events kept for `mesh events`.", ge=1_000, le=10_000_000)] = 100_000


class Log(_Section, frozen=True, kw_only=True):
    """What the node writes about itself."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least level written.")] = "info"
    format: Annotated[
        Literal["auto", "json", "pretty"], Meta(description="Form on the terminal; auto: pretty on one, else json.")
    ] = "auto"
    file: Annotated[bool, Meta(description="Also write node.log in the home, always as json.")] = True
    file_mib: Annotated[int, Meta(description="Size at which node.log is rotated, MiB.", ge=1, le=1024)] = 16
    files: Annotated[int, Meta(description="Rotated logs kept.", ge=1, le=100)] = 4


class Api(_Section, frozen=True, kw_only=True):
    """How programs on this machine talk to the node."""

    socket: Annotated[str, Meta(description="Unix socket of the control API; empty: api.sock in the home.")] = ""
    http: Annotated[str, Meta(description="Read-only dashboard on loopback, as 127.0.0.1:PORT; empty: none.")] = ""


class Key(_Section, frozen=True, kw_only=True):
    """Which key this node is."""

    file: Annotated[str, Meta(description="Key file; empty: node.key in the home.")] = ""
    passphrase_file: Annotated[str, Meta(description="File with the key's passphrase, mode 0600; empty: ask.")] = ""


class Config(_Section, frozen=True, kw_only=True):
    """All settings of one node."""

    network: Network = Network()
    chain: Chain = Chain()
    beacon: Beacon = Beacon()
    provider: Provider = Provider()
    client: Client = Client()
    dispute: Dispute = Dispute()
    store: Store = Store()
    log: Log = Log()
    api: Api = Api()
    key: Key = Key()


CHECKS: Final[Mapping[str, Callable[[object], str]]] = {
    "network.name": check_network,
    "network.bootstrap": check_peers,
    "network.listen": check_listen,
    "network.announce": check_listen,
    "chain.rpc": check_urls,
    "chain.public_rpc": check_urls,
    "beacon.relays": check_urls,
    "chain.escrow": check_address,
    "chain.token": check_address,
    "chain.panel": check_address,
    "chain.max_fee_gwei": check_fee,
    "provider.gpus": check_gpus,
    "provider.roles": check_unique,
    "provider.executors": check_unique,
}
"""Dotted name -> what is wrong with a value of the right type ('' when nothing is)."""


class Setting(msgspec.Struct, frozen=True):
    """One setting, as the reference page and ``mesh config view`` show it."""

    name: str
    """Dotted, ``section.field``."""
    hint: object
    """The annotated type, for ``convert_leaf``."""
    default: object
    about: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "MESH_" + self.name.replace(".", "_").upper()

    @property
    def is_list(self) -> bool:
        """Whether text is split at commas."""
        return typing.get_origin(typing.get_args(self.hint)[0]) is tuple


@cache
def settings() -> Mapping[str, Setting]:
    """Every setting by its dotted name, in the order of the sections above."""
    found: dict[str, Setting] = {}
    sections = typing.get_type_hints(Config)
    for section, struct in sections.items():
        hints = typing.get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            about = next(m.description for m in hints[field.name].__metadata__ if m.description)
            name = f"{section}.{field.name}"
            found[name] = Setting(name, hints[field.name], field.default, about)
    return found


def convert_leaf(setting: Setting, value: object, *, text: bool) -> object:
    """``value`` as the setting's type; ``text`` allows numbers and lists written as text (flags, variables).

    Raises ``ValueError`` whose message says what was expected, without the place.
    """
    if text and setting.is_list and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        typed = msgspec.convert(value, type=typing.cast(type[object], setting.hint), strict=not text, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).replace(" - at `$`", "").replace(" - at `$", " - at item `")) from error
    complaint = CHECKS[setting.name](typed) if setting.name in CHECKS else ""
    if complaint:
        raise ValueError(complaint)
    return typed


def tokens_text(amount: Tokens) -> str:
    """An amount as a decimal number of whole tokens, exact, without trailing zeros: ``0.001``."""
    whole, rest = divmod(int(amount), WEI_PER_TOKEN)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".")


def _decode(kind: type[T], value: object) -> T:
    if kind is not Tokens:
        raise NotImplementedError(f"no way to read a {kind.__name__} from a file")
    try:
        amount = Decimal(value) if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or amount.adjusted() > 60:  # 2**256 wei has 60 digits before the point
        raise ValueError(f"Expected an amount of tokens such as 0.001, got {value!r}")
    with localcontext(prec=100):  # the default of 28 digits would round a large amount
        wei = amount.scaleb(_TOKEN_DECIMALS)
    if wei != int(wei):
        raise ValueError(f"Expected at most {_TOKEN_DECIMALS} digits after the point, got {value!r}")
    return typing.cast(T, Tokens(int(wei)))
