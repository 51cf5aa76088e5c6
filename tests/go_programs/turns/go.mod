module goheapd.test/turns

go 1.19
