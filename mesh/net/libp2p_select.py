"""How is a protocol agreed on in one round trip? By naming it together with the greeting.

Stock waits for the greeting to come back before it names the protocol: two round trips each for noise, for yamux and
for every stream. Whoever listens may answer either way (multistream-select), and go-libp2p asks like this, too.
"""

from collections.abc import Sequence

import trio
from libp2p.abc import IMultiselectCommunicator
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IOException
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_client import (
    DEFAULT_NEGOTIATE_TIMEOUT,
    MULTISELECT_PROTOCOL_ID,
    MultiselectClient,
)
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.utils import encode_delim

__all__ = ["EagerSelect"]


class EagerSelect(MultiselectClient):
    """The dialling side of multistream-select."""

    async def select_one_of(
        self,
        protocols: Sequence[TProtocol],
        communicator: IMultiselectCommunicator,
        negotiate_timeout: int = DEFAULT_NEGOTIATE_TIMEOUT,
    ) -> TProtocol:
        """The protocol both speak. Raises ``MultiselectClientError``. With a choice of several it asks as stock does."""
        if len(protocols) != 1 or not isinstance(communicator, MultiselectCommunicator):
            return await super().select_one_of(protocols, communicator, negotiate_timeout)
        protocol = protocols[0]
        question = encode_delim(MULTISELECT_PROTOCOL_ID.encode()) + encode_delim(protocol.encode())
        try:
            with trio.fail_after(negotiate_timeout):
                await communicator.read_writer.write(question)
                answers = await communicator.read(), await communicator.read()
        except (MultiselectCommunicatorError, IOException) as error:
            raise MultiselectClientError(f"the connection broke while {protocol} was asked for: {error}") from error
        except trio.TooSlowError:
            raise MultiselectClientError(f"no answer about {protocol} within {negotiate_timeout} s") from None
        if answers != (MULTISELECT_PROTOCOL_ID, protocol):
            raise MultiselectClientError(f"asked for {protocol}, the peer answered {answers!r:.200}")
        return protocol
