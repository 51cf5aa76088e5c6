//go:build cgo

void calledBack(int n);

void call_back(int n) { calledBack(n); }
