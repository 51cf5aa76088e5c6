module goheapd.test/fills

go 1.19
