module goheapd.test/phases

go 1.19
