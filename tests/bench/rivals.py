"""The rivals of the backfill, each used as its documentation says: ``python tests/bench/rivals.py NAME JSON``.

Prints the seconds of the load, without imports and without opening connections.
"""

# mypy: disable-error-code="untyped-decorator,unused-ignore"
# Only `make bench` installs the rivals.
from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any


def official(task: dict[str, Any]) -> Callable[[], None]:
    """Load with the provider's client, and store with pandas' ``to_sql`` into the indexed table."""
    import pandas
    import sqlalchemy
    from eodhd import APIClient
    from eodhd.APIs.BaseAPI import BaseAPI

    made = BaseAPI.__init__

    def at_the_stand_in(self: Any) -> None:
        made(self)
        self._api_url = task["base_url"]

    BaseAPI.__init__ = at_the_stand_in
    client, engine = (
        APIClient("demo"),
        sqlalchemy.create_engine(task["database"].replace("postgresql://", "postgresql+psycopg2://")),
    )
    engine.connect().close()

    def work() -> None:
        for symbol in task["symbols"]:
            rows = client.get_eod_historical_stock_market_data(
                symbol=symbol, period="d", from_date=task["first"], to_date=task["last"], order="a"
            )
            frame = pandas.DataFrame(rows).rename(columns={"date": "time"}).assign(symbol=symbol)
            frame["time"] = pandas.to_datetime(frame["time"], utc=True)
            frame.to_sql("market_data", engine, if_exists="append", index=False)

    return work


def dlt_merge(task: dict[str, Any], parallel: bool) -> Callable[[], None]:
    """Load with a dlt pipeline that merges on the key; ``parallel`` fetches symbols in dlt's thread pool."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    if parallel:
        os.environ["EXTRACT__WORKERS"] = "16"
    import dlt
    from dlt.sources.helpers import requests

    folder = tempfile.mkdtemp(prefix="dlt-")
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=folder,
        destination=dlt.destinations.postgres(task["database"]),
        dataset_name=f"dlt_{'parallel' if parallel else 'serial'}",
        dev_mode=True,
    )
    session = requests.Client().session

    def rows(symbol: str) -> list[dict[str, Any]]:
        query = {"api_token": "token", "fmt": "json", "from": task["first"], "to": task["last"]}
        answer = session.get(f"{task['base_url']}/eod/{symbol}", params=query)
        return [{**row, "symbol": symbol} for row in answer.json()]

    @dlt.resource(selected=False)
    def symbols() -> Iterator[str]:
        yield from task["symbols"]

    @dlt.transformer(  # type: ignore[call-overload, untyped-decorator]
        data_from=symbols,
        name="market_data",
        primary_key=("date", "symbol"),
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        columns={"date": {"data_type": "date"}},
    )
    def market_data(symbol: str) -> Any:
        if not parallel:
            return rows(symbol)

        @dlt.defer
        def later() -> Any:
            return rows(symbol)

        return later()

    def work() -> None:
        pipeline.run(market_data())

    return work


RIVALS: dict[str, Callable[[dict[str, Any]], Callable[[], None]]] = {
    "official": official,
    "dlt": lambda task: dlt_merge(task, parallel=False),
    "dlt_parallel": lambda task: dlt_merge(task, parallel=True),
}


def main() -> None:
    work = RIVALS[sys.argv[1]](json.loads(sys.argv[2]))
    began = time.perf_counter()
    work()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
