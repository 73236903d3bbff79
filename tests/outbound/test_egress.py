"""Which addresses may be dialled: a table of them, and what holds for all."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.config import Settings
from trunkline.outbound.egress import DENIED, NEVER, PRIVATE, WORDS, Egress, EgressRules, Forbidden, is_never, readings

PUBLIC = Egress(EgressRules(private=False))
IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ANY = st.one_of(IPV4, st.integers(0, 2**128 - 1).map(IPv6Address)).map(str)
METADATA = st.sampled_from(
    ["169.254.169.254", "169.254.170.2", "169.254.0.0", "169.254.255.255", "100.100.100.200", "168.63.129.16"]
).map(IPv4Address)
FORMS = {
    "mapped": lambda four: 0xFFFF << 32 | four,
    "compatible": lambda four: four,
    "translated": lambda four: 0xFFFF << 48 | four,
    "nat64": lambda four: 0x64FF9B << 96 | four,
    "nat64 /96": lambda four: 0x64FF9B0001 << 80 | 0x7 << 32 | four,
    "nat64 /48": lambda four: 0x64FF9B0001 << 80 | (four >> 16) << 64 | (four & 0xFFFF) << 40,
    "nat64 /56": lambda four: 0x64FF9B0001 << 80 | 0x9 << 72 | (four >> 24) << 64 | (four & 0xFFFFFF) << 32,
    "nat64 /64": lambda four: 0x64FF9B0001 << 80 | 0x9 << 64 | four << 24,
    "6to4": lambda four: 0x2002 << 112 | four << 80 | 1,
    "teredo server": lambda four: 0x20010000 << 96 | four << 64 | 0xF7F7F7F7,
    "teredo client": lambda four: 0x20010000 << 96 | 0x08080808 << 64 | (~four & 0xFFFFFFFF),
    "isatap": lambda four: 0x20010DB8 << 96 | 0x5EFE << 32 | four,
    "isatap, unique": lambda four: 0x20010DB8 << 96 | 0x02005EFE << 32 | four,
}


@pytest.mark.parametrize(
    ("address", "denial"),
    [
        ("8.8.8.8", None),
        ("2606:4700::1111", None),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("11.0.0.1", None),
        ("172.15.255.255", None),
        ("172.32.0.0", None),
        ("100.63.255.255", None),
        ("100.128.0.0", None),
        ("64:ff9b::808:808", None),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "private"),
        ("127.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "private"),
        ("0.0.0.0", "private"),
        ("0.1.2.3", "private"),
        ("224.0.0.1", "private"),
        ("255.255.255.255", "private"),
        ("::", "private"),
        ("::1", "private"),
        ("::1%lo", "private"),
        ("fd12:3456::1", "private"),
        ("fec0::1", "private"),
        ("ff02::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::a00:1", "private"),
        ("169.254.169.254", "metadata"),
        ("fe80::1", "metadata"),
        ("fe80::1%eth0", "metadata"),
        ("febf::1", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec2::23", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::ffff:a9fe:a9fe", "metadata"),
    ],
)
def test_which_rule_denies_an_address(address: str, denial: str | None) -> None:
    assert PUBLIC.denial(address) == denial
    assert Egress().denial(address) == (denial if denial == "metadata" else None), "private addresses are allowed"
    assert PUBLIC.denial(address, configured=True) == (denial if denial == "metadata" else None)


@pytest.mark.parametrize("form", FORMS)
@given(four=METADATA)
def test_no_form_of_a_metadata_address_is_dialled(form: str, four: IPv4Address) -> None:
    text = str(IPv6Address(FORMS[form](int(four))))
    assert four in readings(text)
    everything = EgressRules(allow=("0.0.0.0/0", "::/0", f"{text}/128", f"{four}/32"), private=True)
    assert Egress(everything).denial(text, configured=True) == "metadata"


@pytest.mark.parametrize("form", FORMS)
@given(four=IPV4)
def test_an_ipv4_address_in_another_form_is_no_more_allowed_than_itself(form: str, four: IPv4Address) -> None:
    text = str(IPv6Address(FORMS[form](int(four))))
    if PUBLIC.denial(str(four)) is not None:
        assert PUBLIC.denial(text) is not None
    denied = Egress(EgressRules(deny=(f"{four}/32",)))
    assert denied.denial(text) is not None


@given(address=ANY, allow=st.lists(ANY), deny=st.lists(ANY), private=st.booleans(), configured=st.booleans())
def test_rules_never_allow_metadata_and_deny_wins_over_the_same_network(
    address: str, allow: list[str], deny: list[str], private: bool, configured: bool
) -> None:
    rules = EgressRules(tuple(allow), tuple(deny), private)
    denial = Egress(rules).denial(address, configured=configured)
    assert (denial == "metadata") == is_never(address)
    if address in deny and not is_never(address):
        assert denial == "list"
    elif address in allow and len(readings(address)) == 1 and not is_never(address):
        assert denial is None


@pytest.mark.parametrize(
    ("allow", "deny", "address", "denial"),
    [
        (("10.1.0.0/16",), (), "10.1.2.3", None),
        (("10.1.0.0/16",), (), "10.2.2.3", "private"),
        ((), ("203.0.113.0/24",), "203.0.113.7", "list"),
        (("10.0.0.0/8",), ("10.0.0.0/8",), "10.0.0.1", "list"),
        (("10.0.0.0/8",), ("10.0.0.1/32",), "10.0.0.1", "list"),
        (("10.0.0.0/8",), ("10.0.0.1/32",), "10.0.0.2", None),
        (("198.51.100.7/32",), ("0.0.0.0/0", "::/0"), "198.51.100.7", None),
        (("198.51.100.7/32",), ("0.0.0.0/0", "::/0"), "8.8.8.8", "list"),
        (("198.51.100.7/32",), ("0.0.0.0/0", "::/0"), "2606:4700::1111", "list"),
        (("fd00:ec2::254/128", "169.254.0.0/16"), (), "fd00:ec2::254", "metadata"),
        # One of the forms of the second address would be allowed, not the one that it is dialled as.
        (("8.8.8.8/32",), (), "2002:7f00:1::5efe:808:808", "private"),
        (("10.0.0.0/8",), (), "::ffff:10.0.0.1", None),
    ],
)
def test_the_smallest_network_decides(
    allow: tuple[str, ...], deny: tuple[str, ...], address: str, denial: str | None
) -> None:
    assert Egress(EgressRules(allow, deny, private=False)).denial(address) == denial


def test_lists_and_metadata_count_for_what_is_configured_too() -> None:
    egress = Egress(EgressRules(deny=("10.0.0.0/8",), private=False))
    assert egress.denial("192.168.0.1", configured=True) is None
    assert egress.denial("10.0.0.1", configured=True) == "list"
    assert egress.denial("169.254.1.1", configured=True) == "metadata"


def test_of_several_addresses_those_remain_that_may_be_dialled() -> None:
    egress = Egress(EgressRules(private=False))
    assert egress.allowed("a.test", ["10.0.0.1", "8.8.8.8", "::1"]) == ["8.8.8.8"]
    assert egress.allowed("a.test", []) == []
    assert not egress.counters
    with pytest.raises(Forbidden, match=r"^a\.test may not be dialled: .*egress\.private") as refused:
        egress.allowed("a.test", ["10.0.0.1", "169.254.1.1"])
    assert "10.0.0.1" not in str(refused.value), "a name may hide its addresses from customers"
    assert egress.counters == {f"{DENIED}private": 1}


@pytest.mark.parametrize(
    ("address", "words"),
    [("10.0.0.1", "private"), ("169.254.1.1", "metadata"), ("8.8.8.8", r"in egress\.deny")],
)
def test_a_refusal_says_which_rule_it_was(address: str, words: str) -> None:
    egress = Egress(EgressRules(deny=("8.0.0.0/8",), private=False))
    with pytest.raises(Forbidden, match=f"^a may not be dialled: its address is .*{words}"):
        egress.allowed("a", [address])
    assert egress.counters == {f"{DENIED}{egress.denial(address)}": 1}


def test_other_rules_take_force() -> None:
    egress = Egress(EgressRules(private=False, configured=(("a", "h", 80),)))
    assert egress.is_configured("a", "h", 80)
    assert not egress.is_configured("b", "h", 80)
    egress.take(EgressRules(deny=("8.8.8.8/32",)))
    assert egress.denial("10.0.0.1") is None
    assert egress.denial("8.8.8.8") == "list"
    assert not egress.is_configured("a", "h", 80)


@pytest.mark.parametrize(
    ("given_settings", "private"),
    [
        ({}, True),
        ({"http": {"host": "localhost"}}, True),
        ({"http": {"host": "::1"}}, True),
        ({"http": {"host": "127.3.2.1"}}, True),
        ({"http": {"host": "0.0.0.0"}}, False),
        ({"http": {"host": "192.168.1.1"}}, False),
        ({"http": {"host": "voice.example"}}, False),
        ({"http": {"host": "0.0.0.0"}, "egress": {"private": True}}, True),
        ({"egress": {"private": False}}, False),
    ],
)
def test_private_addresses_by_default_only_while_http_is_loopback(
    given_settings: dict[str, object], private: bool
) -> None:
    assert EgressRules.of(Settings.model_validate(given_settings), "a").private is private


def test_the_rules_of_settings() -> None:
    application = {
        "name": "bot",
        "voice_url": "http://user:x@Bot.lan:8000/voice?a=b",
        "voice_fallback_url": "https://10.0.0.9",
        "status_callback": "http://[fd00::1]/s",
    }
    settings = Settings.model_validate(
        {"applications": [application], "egress": {"allow": "10.0.0.0/8, fd00::/8", "deny": ["8.8.8.8/32"]}}
    )
    rules = EgressRules.of(settings, "acc")
    assert rules.allow == ("10.0.0.0/8", "fd00::/8")
    assert rules.deny == ("8.8.8.8/32",)
    assert rules.configured == (("acc", "10.0.0.9", 443), ("acc", "bot.lan", 8000), ("acc", "fd00::1", 80))


def test_streams_and_documents_of_the_configuration_are_configured_too() -> None:
    settings = Settings.model_validate(
        {
            "stream": "ws://a",
            "applications": [{"name": "b", "stream": "wss://b/x"}],
            "numbers": [
                {"pattern": "1", "stream": "ws://c:7860/ws"},
                {"pattern": "2", "voice_url": "http://d/"},
                {"pattern": "3", "texml": '<Response><Play>http://e/</Play><Stream url="ws://[:1/"/></Response>'},
            ],
        }
    )
    places = (("a", 80), ("b", 443), ("c", 7860), ("d", 80), ("e", 80))
    assert EgressRules.of(settings, "acc").configured == tuple(("acc", host, port) for host, port in places)


def test_every_denial_names_a_setting_or_says_that_none_helps() -> None:
    assert all("egress" in words for words in WORDS.values())
    assert not any(one.overlaps(ip_network("8.0.0.0/8")) for one in (*NEVER, *PRIVATE) if one.version == 4)
    assert all(PUBLIC.denial(str(network.network_address)) for network in (*NEVER, *PRIVATE))


def test_a_name_is_no_address() -> None:
    for call in (PUBLIC.denial, is_never, readings):
        with pytest.raises(ValueError, match="does not appear to be"):
            call("localhost")
