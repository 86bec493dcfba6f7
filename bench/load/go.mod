module hopgate/bench/load

go 1.19
