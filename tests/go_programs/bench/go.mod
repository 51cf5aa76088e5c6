module goheapd.test/bench

go 1.19
