module hopgate/bench/peers/go

go 1.19
