"""Numbers, phones and trunks of the settings, as they are shown."""

from collections.abc import Callable, Sequence

from trunkline.calls.directory import Directory
from trunkline.calls.views import PhoneView, RoutesView, TargetView, TrunkView
from trunkline.ids import AccountSid
from trunkline.sip.values import TrunkStatus


def routes_of(
    directory: Directory, account: AccountSid, contacts: Callable[[str], Sequence[str]], trunks: Sequence[TrunkStatus]
) -> RoutesView:
    """Those of an account: all of the one of the settings, else none. `contacts` are the addresses of a phone."""
    if not directory.is_of(account):
        return RoutesView()
    return RoutesView(
        directory.numbers,
        tuple(PhoneView(user, tuple(contacts(user))) for user in directory.phones),
        tuple(
            TrunkView(one.name, one.registered, tuple(TargetView(target.uri, target.up) for target in one.targets))
            for one in trunks
        ),
    )
