"""How much does a client pull of a result whose provider says that it is enormous? What its job may write, and no more."""

import msgspec
import pytest

from devnet.sim.samples import NOW, Samples
from devnet.sim.workload import toy_job
from protocols.deals import channel_client, client
from protocols.deals.inputs import Ctx, ResultArrived, SealedArrived
from protocols.deals.sealed_client import SEAL_BYTES
from protocols.deals.states import Committed, DealTerms, Resulted, Signed
from protocols.effects import FetchBlobs
from protocols.mediation.case import result_bytes
from tests.protocols.channels.pair import Pair

SAMPLES = Samples(10**15)
CTX = Ctx(SAMPLES.env(SAMPLES.client), NOW)
HUGE = 1 << 62
MOST = 70_000


def terms(most: int) -> DealTerms:
    return msgspec.structs.replace(SAMPLES.states()["Committed"].terms, most_bytes=most)


@pytest.mark.parametrize(("most", "said", "pulled"), [(MOST, HUGE, MOST), (MOST, 500, 500), (0, 500, 500)])
def test_a_result_that_is_said_to_be_enormous(most: int, said: int, pulled: int) -> None:
    resulted = SAMPLES.states()["Resulted"]
    assert isinstance(resulted, Resulted)
    notice = msgspec.structs.replace(resulted.result, size=said)
    committed = Committed(terms(most), SAMPLES.commitment)
    _, effects = client.advance(committed, ResultArrived(notice), CTX)
    (fetch,) = (one for one in effects if isinstance(one, FetchBlobs))
    assert [root.size for root in fetch.roots] == [pulled]


def test_a_sealed_one_that_is_said_to_be_enormous() -> None:
    notice = msgspec.structs.replace(SAMPLES.sealed_notice(), size=HUGE)
    _, effects = channel_client.advance(Signed(terms(MOST)), SealedArrived(notice), CTX)
    (fetch,) = (one for one in effects if isinstance(one, FetchBlobs))
    assert MOST < fetch.roots[0].size < 2 * MOST + SEAL_BYTES + 1


def test_a_client_keeps_what_its_job_may_write() -> None:
    pair = Pair()
    pair.submit(1)
    pair.passes(2)
    (deal,) = (half.state for half in pair.client.state.durable.deals.values())
    assert deal.terms.most_bytes == result_bytes(toy_job(1)) > 0
