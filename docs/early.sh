#!/bin/sh
# How much of 48 MiB was produced in the first second, while the client read nothing for two? Each row carries its time.
curl -sN "$1/measure?rows=750&size=65536&delay_ms=0" | { sleep 2; awk '
    NR == 1 { first = $2 }
    $2 < first + 1 { early++ }
    END { print (early == NR ? "all of it" : early < NR / 2 ? "less than half" : "more than half") }'; }
