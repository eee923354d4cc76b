from pathlib import Path
import time
from balancer import balancing
from freezes import Freezer
from stage import stage
from victims import ForkServer

async def test_freezes(tmp_path: Path, victims: ForkServer, own_postgres_url: str) -> None:
    async with (
        balancing() as (balancer, url),
        stage(tmp_path / "freezes", own_postgres_url, victims, calls_back=True, public_url=url, telegram_updates="webhook") as here,
    ):
        f = Freezer(here, balancer)
        names = await f.begin()
        print(len(names), *names, sep="\n")
        for i, n in enumerate(names):
            if n.startswith("before commit"): continue
            t=time.perf_counter()
            await f.freeze(n, risks=i%2==0)
            print(n, time.perf_counter()-t, flush=True)
            while f.complaints: print(f.complaints.pop(), flush=True)
        await f.end()
        print(*f.complaints, "MISSED", *f.missed, sep="\n")
