"""What requests name to be dialled, as far as it can be judged at once: literal addresses. Pure.

Names are judged when they are dialled, by their addresses of that moment.
"""

from trunkline.calls.commands import CallRequest, Command, Instructions, Route, SetStatusCallback
from trunkline.errors import InvalidRequest, InvalidUrl
from trunkline.ids import AccountSid
from trunkline.outbound.egress import Egress, Forbidden
from trunkline.outbound.urls import PORTS, BadUrl, is_address, place_of
from trunkline.sip.message.headers import parse_uri
from trunkline.streaming.params import StreamParams


class Destinations:
    """Checks requests by the rules of this server."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    def check_urls(self, account: AccountSid, urls: dict[str, str | None]) -> None:
        """URLs by the names of their fields. Raises InvalidUrl for the first that cannot be dialled."""
        for name, url in urls.items():
            try:
                place = place_of(url or "", *PORTS)
            except BadUrl:
                continue  # not given, or it fails when it is dialled
            if not is_address(place.host):
                continue
            configured = self._egress.is_configured(account, place.host, place.port)
            try:
                self._egress.allowed(place.host, (place.host,), configured=configured)
            except Forbidden as error:
                raise InvalidUrl(f"{name}: {error}", pointer=f"/{name}") from None

    def check_call(self, account: AccountSid, request: CallRequest) -> None:
        """The URLs of a request for a call. Raises InvalidUrl."""
        self.check_instructions(account, request.instructions)
        self.check_urls(account, {"StatusCallback": request.status_callback})

    def check_instructions(self, account: AccountSid, instructions: Instructions | None) -> None:
        """Raises InvalidUrl."""
        if instructions is not None:
            self.check_urls(account, {"Url": instructions.url, "FallbackUrl": instructions.fallback_url})

    def check_command(self, account: AccountSid, command: Command) -> None:
        """Raises InvalidUrl."""
        if isinstance(command, SetStatusCallback):
            self.check_urls(account, {"StatusCallback": command.url})

    def check_stream(self, account: AccountSid, params: StreamParams) -> None:
        """Raises InvalidUrl."""
        self.check_urls(account, {"Url": params.url.text, "StatusCallback": params.status_callback})

    def check_route(self, route: Route) -> None:
        """Where a call goes. Raises InvalidRequest."""
        if route.kind != "uri":
            return
        try:
            host = parse_uri(route.to).host
            if is_address(host):
                self._egress.allowed(host, (host,))
        except Forbidden as error:
            raise InvalidRequest(f"To: {error}", pointer="/To") from None
        except (ValueError, LookupError):
            return  # the call fails with the reason
