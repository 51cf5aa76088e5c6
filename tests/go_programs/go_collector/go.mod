module goheapd.test/go_collector

go 1.19
