module hopgate.example/compare

go 1.19
