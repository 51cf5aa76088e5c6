// The few kernel types that the programs touch. Fields are found by name in the running kernel's type
// information (CO-RE), so only their names and types matter here, not their places.
#pragma once

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
  int counter;
} atomic_t;

struct signal_struct {
  atomic_t live;  // threads that have not begun to exit
};

struct task_struct {
  struct signal_struct* signal;
};

#pragma clang attribute pop

// Registers of the interrupted thread. Unlike the types above this is user space ABI and cannot move.
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
  unsigned long r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs,
      eflags, rsp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
  unsigned long long regs[31], sp, pc, pstate;
};
struct pt_regs {
  struct user_pt_regs user_regs;
};
#else
#error "goheapd probes amd64 and arm64"
#endif
