module goheapd.test/stops

go 1.19
