//! The tables of the report: what each has, and what a reader has to know of it.

use super::figures::{
    ANSWERED, BEST, BYTES, CLIENT_CPU, CONSUMER_CPU, CONSUMER_PEAK, COUPONS, DATABASE_CPU, DATABASE_PEAK, ERRORS,
    GOODPUT, KAFKA_CPU, KAFKA_PEAK, LAST_ROW, LONGEST, OFFERED, P50, P99, P999, PUT_OFF_P99, REBUILD, RECORDS,
    RECOVERED, REDIS_CPU, REDIS_PEAK, RETRY_AFTER, ROWS, SAME_RETRY, SECONDS, SELL_OUT, SERVER_CPU, SERVER_PEAK,
    TOLD_P99, WISHES,
};

/// What a reader has to know of the cases, and of what counts.
pub(crate) const LEGEND: &str = "\
`bare` is a route that reads the request, counts, and answers the same JSON. `plain` is one script call and one awaited record for each request \
(linger 10 ms). `durable` and `fast` are issuers by what the campaign acknowledges. The number is that of kept connections, each of which asks again \
once it was answered; where there is none they are 256. `sold-out`: losers ask once all is sold; believed, or by a gateway's header, a signed token that the issuer has not seen, or one of 1,000 that it knows. `winners-again`: winners do. `constant`: requests \
are due at even distances, on 1,024 connections; a latency counts from the time at which its request was due, and requests leave at the next \
millisecond. `flash`: 30,000 people within one second. `consumer` drains a topic that is full: rows a second from the first that is seen to the \
last. `insert-many` and `insert-one` put the same rows there on one connection, 500 in a statement, or one, and each its own \
transaction; a consumer has up to 2,048 in one. `sale`: from the first request \
until all have heard that nothing is left, with a consumer beside. `rebuild`: Redis, which is empty, is filled from the rows.

Every request has a user of its own with 16 bytes. A round counts only if no rank was told to two users, none is above the total, Redis gave as \
many as were told (but for requests without a known end, which are errors), and there are as many rows as winners where winners are stored.

";

/// The columns of one table: a head, and the figure below it.
pub(crate) type Columns = &'static [(&'static str, &'static str)];

/// What people look at first.
pub(crate) const ANSWERS: Columns = &[
    ("answered/s", ANSWERED),
    ("P50 ms", P50),
    ("P99 ms", P99),
    ("P99.9 ms", P999),
    ("longest ms", LONGEST),
    ("seconds", SECONDS),
    ("errors", ERRORS),
];
const OVERLOAD: Columns = &[
    ("best/s", BEST),
    ("offered/s", OFFERED),
    ("goodput of the best", GOODPUT),
    ("told P99 ms", TOLD_P99),
    ("refused P99 ms", PUT_OFF_P99),
    ("with Retry-After", RETRY_AFTER),
    ("most frequent one", SAME_RETRY),
    ("recovered after s", RECOVERED),
    ("errors", ERRORS),
];
const STORES: Columns = &[
    ("coupons", COUPONS),
    ("rows/s", ROWS),
    ("sold out after s", SELL_OUT),
    ("last row s later", LAST_ROW),
    ("rebuilt in s", REBUILD),
];
const COSTS: Columns = &[
    ("server", SERVER_CPU),
    ("consumer", CONSUMER_CPU),
    ("Redis", REDIS_CPU),
    ("Kafka", KAFKA_CPU),
    ("MariaDB", DATABASE_CPU),
    ("client", CLIENT_CPU),
];
const SIZES: Columns = &[
    ("server MiB", SERVER_PEAK),
    ("consumer MiB", CONSUMER_PEAK),
    ("Redis MiB", REDIS_PEAK),
    ("Kafka MiB", KAFKA_PEAK),
    ("MariaDB MiB", DATABASE_PEAK),
    ("wishes a call", WISHES),
    ("records a request", RECORDS),
    ("Redis bytes a winner", BYTES),
];

/// Title, a word about it, columns, and the figure that a case must have to be in it.
pub(crate) const SECTIONS: [(&str, &str, Columns, &str); 5] = [
    ("Answers", "", ANSWERS, ANSWERED),
    (
        "Overload",
        "For some seconds three times as many ask as the best that 1,024 connections have just reached, and then half as many; on 4,500 kept \
         connections, at even distances, latencies from the time at which a request was due. In `overload` Redis is 25 ms away, \
         as one batch at a time is on its way to it, it is what bounds an issuer, and this machine can offer three times as much and refuse it. In `cpu-overload` \
         nothing is held back: what refuses takes processor time from what answers, and the load generator from both, so that no limit is \
         set. It has \
         recovered behind the last tenth of a second of which more than one in a hundred was not told a rank within 250 ms. Goodput, refusals and their `Retry-After` are of the time of the \
         overload; errors are requests that were not answered at all.\n\n",
        OVERLOAD,
        GOODPUT,
    ),
    ("Rows", "", STORES, COUPONS),
    (
        "Processor time",
        "Microseconds for each answer, row or coupon, in user mode and in the kernel. The client is the load generator, or whoever \
         inserts rows or fills Redis.\n\n",
        COSTS,
        REDIS_CPU,
    ),
    ("Memory and batches", "The most memory while it was measured.\n\n", SIZES, REDIS_PEAK),
];
