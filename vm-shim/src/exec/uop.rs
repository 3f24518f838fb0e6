//! What the interpreter dispatches on: operations, and pairs, triples and quadruples of them that often follow each
//! other.
//!
//! A pair costs one dispatch instead of two. It changes nothing else: the second operation keeps its own place, so
//! jumps to it, faults in it and the count of instructions are as without pairs. So with the longer ones, which put a call's
//! arguments in place, walk through memory or end a loop. The pairs are those that are frequent
//! in the objects that Debian ships (a static count over 158,000 instructions), and those of tight arithmetic loops.

use super::code::DecodedOp;
use crate::isa::Op;

/// Calls a macro with the tables: all operations, all pairs as name, first, second, and what is longer likewise.
macro_rules! with_uops {
    ($callback:ident) => {
        $callback! {
            ops {
                Add64K Add64X Sub64K Sub64X Mul64K Mul64X Div64K Div64X Or64K Or64X And64K And64X Lsh64K
                Lsh64X Rsh64K Rsh64X Mod64K Mod64X Xor64K Xor64X Mov64K Mov64X Arsh64K Arsh64X Sdiv64K
                Sdiv64X Smod64K Smod64X Neg64 Movsx8To64 Movsx16To64 Movsx32To64 Add32K Add32X Sub32K Sub32X
                Mul32K Mul32X Div32K Div32X Or32K Or32X And32K And32X Lsh32K Lsh32X Rsh32K Rsh32X Mod32K
                Mod32X Xor32K Xor32X Mov32K Mov32X Arsh32K Arsh32X Sdiv32K Sdiv32X Smod32K Smod32X Neg32
                Movsx8To32 Movsx16To32 Le16 Be16 Bswap16 Le32 Be32 Bswap32 Le64 Be64 Bswap64 Jeq64K Jeq64X
                Jgt64K Jgt64X Jge64K Jge64X Jset64K Jset64X Jne64K Jne64X Jsgt64K Jsgt64X Jsge64K Jsge64X
                Jlt64K Jlt64X Jle64K Jle64X Jslt64K Jslt64X Jsle64K Jsle64X Jeq32K Jeq32X Jgt32K Jgt32X
                Jge32K Jge32X Jset32K Jset32X Jne32K Jne32X Jsgt32K Jsgt32X Jsge32K Jsge32X Jlt32K Jlt32X
                Jle32K Jle32X Jslt32K Jslt32X Jsle32K Jsle32X Ja AddrSpaceCast Gotox Ja32 MayGoto CallHelper
                CallLocal CallKfunc Callx Exit LdImm64 LdAbsB LdAbsH LdAbsW LdIndB LdIndH LdIndW LdxB LdxH
                LdxW LdxDw LdxsB LdxsH LdxsW StB StH StW StDw StxB StxH StxW StxDw AtomicAdd32 FetchAdd32
                AtomicOr32 FetchOr32 AtomicAnd32 FetchAnd32 AtomicXor32 FetchXor32 Xchg32 Cmpxchg32
                AtomicAdd64 FetchAdd64 AtomicOr64 FetchOr64 AtomicAnd64 FetchAnd64 AtomicXor64 FetchXor64
                Xchg64 Cmpxchg64 LoadAcquire8 StoreRelease8 LoadAcquire16 StoreRelease16 LoadAcquire32
                StoreRelease32 LoadAcquire64 StoreRelease64 Trap Arena
            }
            pairs {
                Add64KThenAdd64K Add64K Add64K
                Add64KThenAdd64X Add64K Add64X
                Add64KThenSub64X Add64K Sub64X
                Add64KThenMov64K Add64K Mov64K
                Add64KThenMov64X Add64K Mov64X
                Add64KThenMul64K Add64K Mul64K
                Add64KThenAnd64K Add64K And64K
                Add64KThenOr64X Add64K Or64X
                Add64KThenXor64X Add64K Xor64X
                Add64KThenLsh64K Add64K Lsh64K
                Add64KThenRsh64K Add64K Rsh64K
                Add64KThenJne64K Add64K Jne64K
                Add64KThenJeq64K Add64K Jeq64K
                Add64KThenJa Add64K Ja
                Add64XThenAdd64K Add64X Add64K
                Add64XThenAdd64X Add64X Add64X
                Add64XThenSub64X Add64X Sub64X
                Add64XThenMov64K Add64X Mov64K
                Add64XThenMov64X Add64X Mov64X
                Add64XThenMul64K Add64X Mul64K
                Add64XThenAnd64K Add64X And64K
                Add64XThenOr64X Add64X Or64X
                Add64XThenXor64X Add64X Xor64X
                Add64XThenLsh64K Add64X Lsh64K
                Add64XThenRsh64K Add64X Rsh64K
                Add64XThenJne64K Add64X Jne64K
                Add64XThenJeq64K Add64X Jeq64K
                Add64XThenJa Add64X Ja
                Sub64XThenAdd64K Sub64X Add64K
                Sub64XThenAdd64X Sub64X Add64X
                Sub64XThenSub64X Sub64X Sub64X
                Sub64XThenMov64K Sub64X Mov64K
                Sub64XThenMov64X Sub64X Mov64X
                Sub64XThenMul64K Sub64X Mul64K
                Sub64XThenAnd64K Sub64X And64K
                Sub64XThenOr64X Sub64X Or64X
                Sub64XThenXor64X Sub64X Xor64X
                Sub64XThenLsh64K Sub64X Lsh64K
                Sub64XThenRsh64K Sub64X Rsh64K
                Sub64XThenJne64K Sub64X Jne64K
                Sub64XThenJeq64K Sub64X Jeq64K
                Sub64XThenJa Sub64X Ja
                Mov64KThenAdd64K Mov64K Add64K
                Mov64KThenAdd64X Mov64K Add64X
                Mov64KThenSub64X Mov64K Sub64X
                Mov64KThenMov64K Mov64K Mov64K
                Mov64KThenMov64X Mov64K Mov64X
                Mov64KThenMul64K Mov64K Mul64K
                Mov64KThenAnd64K Mov64K And64K
                Mov64KThenOr64X Mov64K Or64X
                Mov64KThenXor64X Mov64K Xor64X
                Mov64KThenLsh64K Mov64K Lsh64K
                Mov64KThenRsh64K Mov64K Rsh64K
                Mov64KThenJne64K Mov64K Jne64K
                Mov64KThenJeq64K Mov64K Jeq64K
                Mov64KThenJa Mov64K Ja
                Mov64XThenAdd64K Mov64X Add64K
                Mov64XThenAdd64X Mov64X Add64X
                Mov64XThenSub64X Mov64X Sub64X
                Mov64XThenMov64K Mov64X Mov64K
                Mov64XThenMov64X Mov64X Mov64X
                Mov64XThenMul64K Mov64X Mul64K
                Mov64XThenAnd64K Mov64X And64K
                Mov64XThenOr64X Mov64X Or64X
                Mov64XThenXor64X Mov64X Xor64X
                Mov64XThenLsh64K Mov64X Lsh64K
                Mov64XThenRsh64K Mov64X Rsh64K
                Mov64XThenJne64K Mov64X Jne64K
                Mov64XThenJeq64K Mov64X Jeq64K
                Mov64XThenJa Mov64X Ja
                Mul64KThenAdd64K Mul64K Add64K
                Mul64KThenAdd64X Mul64K Add64X
                Mul64KThenSub64X Mul64K Sub64X
                Mul64KThenMov64K Mul64K Mov64K
                Mul64KThenMov64X Mul64K Mov64X
                Mul64KThenMul64K Mul64K Mul64K
                Mul64KThenAnd64K Mul64K And64K
                Mul64KThenOr64X Mul64K Or64X
                Mul64KThenXor64X Mul64K Xor64X
                Mul64KThenLsh64K Mul64K Lsh64K
                Mul64KThenRsh64K Mul64K Rsh64K
                Mul64KThenJne64K Mul64K Jne64K
                Mul64KThenJeq64K Mul64K Jeq64K
                Mul64KThenJa Mul64K Ja
                And64KThenAdd64K And64K Add64K
                And64KThenAdd64X And64K Add64X
                And64KThenSub64X And64K Sub64X
                And64KThenMov64K And64K Mov64K
                And64KThenMov64X And64K Mov64X
                And64KThenMul64K And64K Mul64K
                And64KThenAnd64K And64K And64K
                And64KThenOr64X And64K Or64X
                And64KThenXor64X And64K Xor64X
                And64KThenLsh64K And64K Lsh64K
                And64KThenRsh64K And64K Rsh64K
                And64KThenJne64K And64K Jne64K
                And64KThenJeq64K And64K Jeq64K
                And64KThenJa And64K Ja
                Or64XThenAdd64K Or64X Add64K
                Or64XThenAdd64X Or64X Add64X
                Or64XThenSub64X Or64X Sub64X
                Or64XThenMov64K Or64X Mov64K
                Or64XThenMov64X Or64X Mov64X
                Or64XThenMul64K Or64X Mul64K
                Or64XThenAnd64K Or64X And64K
                Or64XThenOr64X Or64X Or64X
                Or64XThenXor64X Or64X Xor64X
                Or64XThenLsh64K Or64X Lsh64K
                Or64XThenRsh64K Or64X Rsh64K
                Or64XThenJne64K Or64X Jne64K
                Or64XThenJeq64K Or64X Jeq64K
                Or64XThenJa Or64X Ja
                Xor64XThenAdd64K Xor64X Add64K
                Xor64XThenAdd64X Xor64X Add64X
                Xor64XThenSub64X Xor64X Sub64X
                Xor64XThenMov64K Xor64X Mov64K
                Xor64XThenMov64X Xor64X Mov64X
                Xor64XThenMul64K Xor64X Mul64K
                Xor64XThenAnd64K Xor64X And64K
                Xor64XThenOr64X Xor64X Or64X
                Xor64XThenXor64X Xor64X Xor64X
                Xor64XThenLsh64K Xor64X Lsh64K
                Xor64XThenRsh64K Xor64X Rsh64K
                Xor64XThenJne64K Xor64X Jne64K
                Xor64XThenJeq64K Xor64X Jeq64K
                Xor64XThenJa Xor64X Ja
                Lsh64KThenAdd64K Lsh64K Add64K
                Lsh64KThenAdd64X Lsh64K Add64X
                Lsh64KThenSub64X Lsh64K Sub64X
                Lsh64KThenMov64K Lsh64K Mov64K
                Lsh64KThenMov64X Lsh64K Mov64X
                Lsh64KThenMul64K Lsh64K Mul64K
                Lsh64KThenAnd64K Lsh64K And64K
                Lsh64KThenOr64X Lsh64K Or64X
                Lsh64KThenXor64X Lsh64K Xor64X
                Lsh64KThenLsh64K Lsh64K Lsh64K
                Lsh64KThenRsh64K Lsh64K Rsh64K
                Lsh64KThenJne64K Lsh64K Jne64K
                Lsh64KThenJeq64K Lsh64K Jeq64K
                Lsh64KThenJa Lsh64K Ja
                Rsh64KThenAdd64K Rsh64K Add64K
                Rsh64KThenAdd64X Rsh64K Add64X
                Rsh64KThenSub64X Rsh64K Sub64X
                Rsh64KThenMov64K Rsh64K Mov64K
                Rsh64KThenMov64X Rsh64K Mov64X
                Rsh64KThenMul64K Rsh64K Mul64K
                Rsh64KThenAnd64K Rsh64K And64K
                Rsh64KThenOr64X Rsh64K Or64X
                Rsh64KThenXor64X Rsh64K Xor64X
                Rsh64KThenLsh64K Rsh64K Lsh64K
                Rsh64KThenRsh64K Rsh64K Rsh64K
                Rsh64KThenJne64K Rsh64K Jne64K
                Rsh64KThenJeq64K Rsh64K Jeq64K
                Rsh64KThenJa Rsh64K Ja
                LdxBThenMov64X LdxB Mov64X
                LdxBThenMov64K LdxB Mov64K
                LdxBThenAdd64K LdxB Add64K
                LdxBThenAdd64X LdxB Add64X
                LdxBThenLsh64K LdxB Lsh64K
                LdxBThenOr64X LdxB Or64X
                LdxBThenJeq64K LdxB Jeq64K
                LdxBThenJne64K LdxB Jne64K
                LdxBThenStxW LdxB StxW
                LdxBThenStxDw LdxB StxDw
                LdxBThenLdxB LdxB LdxB
                LdxHThenMov64X LdxH Mov64X
                LdxHThenMov64K LdxH Mov64K
                LdxHThenAdd64K LdxH Add64K
                LdxHThenAdd64X LdxH Add64X
                LdxHThenLsh64K LdxH Lsh64K
                LdxHThenOr64X LdxH Or64X
                LdxHThenJeq64K LdxH Jeq64K
                LdxHThenJne64K LdxH Jne64K
                LdxHThenStxW LdxH StxW
                LdxHThenStxDw LdxH StxDw
                LdxHThenLdxH LdxH LdxH
                LdxWThenMov64X LdxW Mov64X
                LdxWThenMov64K LdxW Mov64K
                LdxWThenAdd64K LdxW Add64K
                LdxWThenAdd64X LdxW Add64X
                LdxWThenLsh64K LdxW Lsh64K
                LdxWThenOr64X LdxW Or64X
                LdxWThenJeq64K LdxW Jeq64K
                LdxWThenJne64K LdxW Jne64K
                LdxWThenStxW LdxW StxW
                LdxWThenStxDw LdxW StxDw
                LdxWThenLdxW LdxW LdxW
                LdxDwThenMov64X LdxDw Mov64X
                LdxDwThenMov64K LdxDw Mov64K
                LdxDwThenAdd64K LdxDw Add64K
                LdxDwThenAdd64X LdxDw Add64X
                LdxDwThenLsh64K LdxDw Lsh64K
                LdxDwThenOr64X LdxDw Or64X
                LdxDwThenJeq64K LdxDw Jeq64K
                LdxDwThenJne64K LdxDw Jne64K
                LdxDwThenStxW LdxDw StxW
                LdxDwThenStxDw LdxDw StxDw
                LdxDwThenLdxDw LdxDw LdxDw
                StxBThenMov64X StxB Mov64X
                StxBThenMov64K StxB Mov64K
                StxBThenAdd64K StxB Add64K
                StxBThenAdd64X StxB Add64X
                StxBThenLdxW StxB LdxW
                StxBThenLdxDw StxB LdxDw
                StxBThenStxB StxB StxB
                StxHThenMov64X StxH Mov64X
                StxHThenMov64K StxH Mov64K
                StxHThenAdd64K StxH Add64K
                StxHThenAdd64X StxH Add64X
                StxHThenLdxW StxH LdxW
                StxHThenLdxDw StxH LdxDw
                StxHThenStxH StxH StxH
                StxWThenMov64X StxW Mov64X
                StxWThenMov64K StxW Mov64K
                StxWThenAdd64K StxW Add64K
                StxWThenAdd64X StxW Add64X
                StxWThenLdxW StxW LdxW
                StxWThenLdxDw StxW LdxDw
                StxWThenStxW StxW StxW
                StxDwThenMov64X StxDw Mov64X
                StxDwThenMov64K StxDw Mov64K
                StxDwThenAdd64K StxDw Add64K
                StxDwThenAdd64X StxDw Add64X
                StxDwThenLdxW StxDw LdxW
                StxDwThenLdxDw StxDw LdxDw
                StxDwThenStxDw StxDw StxDw
                Mov64XThenLdxB Mov64X LdxB
                Mov64XThenLdxH Mov64X LdxH
                Mov64XThenLdxW Mov64X LdxW
                Mov64XThenLdxDw Mov64X LdxDw
                Mov64XThenStxB Mov64X StxB
                Mov64XThenStxH Mov64X StxH
                Mov64XThenStxW Mov64X StxW
                Mov64XThenStxDw Mov64X StxDw
                Mov64KThenLdxB Mov64K LdxB
                Mov64KThenLdxH Mov64K LdxH
                Mov64KThenLdxW Mov64K LdxW
                Mov64KThenLdxDw Mov64K LdxDw
                Mov64KThenStxB Mov64K StxB
                Mov64KThenStxH Mov64K StxH
                Mov64KThenStxW Mov64K StxW
                Mov64KThenStxDw Mov64K StxDw
                Add64KThenLdxB Add64K LdxB
                Add64KThenLdxH Add64K LdxH
                Add64KThenLdxW Add64K LdxW
                Add64KThenLdxDw Add64K LdxDw
                Add64KThenStxB Add64K StxB
                Add64KThenStxH Add64K StxH
                Add64KThenStxW Add64K StxW
                Add64KThenStxDw Add64K StxDw
                Add64XThenLdxB Add64X LdxB
                Add64XThenLdxH Add64X LdxH
                Add64XThenLdxW Add64X LdxW
                Add64XThenLdxDw Add64X LdxDw
                Add64XThenStxB Add64X StxB
                Add64XThenStxH Add64X StxH
                Add64XThenStxW Add64X StxW
                Add64XThenStxDw Add64X StxDw
                And64KThenLdxB And64K LdxB
                And64KThenLdxH And64K LdxH
                And64KThenLdxW And64K LdxW
                And64KThenLdxDw And64K LdxDw
                And64KThenStxB And64K StxB
                And64KThenStxH And64K StxH
                And64KThenStxW And64K StxW
                And64KThenStxDw And64K StxDw
                LdxBThenLdxH LdxB LdxH
                LdxBThenLdxW LdxB LdxW
                LdxBThenLdxDw LdxB LdxDw
                LdxBThenStxB LdxB StxB
                LdxBThenStxH LdxB StxH
                LdxHThenLdxB LdxH LdxB
                LdxHThenLdxW LdxH LdxW
                LdxHThenLdxDw LdxH LdxDw
                LdxHThenStxB LdxH StxB
                LdxHThenStxH LdxH StxH
                LdxWThenLdxB LdxW LdxB
                LdxWThenLdxH LdxW LdxH
                LdxWThenLdxDw LdxW LdxDw
                LdxWThenStxB LdxW StxB
                LdxWThenStxH LdxW StxH
                LdxDwThenLdxB LdxDw LdxB
                LdxDwThenLdxH LdxDw LdxH
                LdxDwThenLdxW LdxDw LdxW
                LdxDwThenStxB LdxDw StxB
                LdxDwThenStxH LdxDw StxH
                StxBThenLdxB StxB LdxB
                StxBThenLdxH StxB LdxH
                StxBThenStxH StxB StxH
                StxBThenStxW StxB StxW
                StxBThenStxDw StxB StxDw
                StxHThenLdxB StxH LdxB
                StxHThenLdxH StxH LdxH
                StxHThenStxB StxH StxB
                StxHThenStxW StxH StxW
                StxHThenStxDw StxH StxDw
                StxWThenLdxB StxW LdxB
                StxWThenLdxH StxW LdxH
                StxWThenStxB StxW StxB
                StxWThenStxH StxW StxH
                StxWThenStxDw StxW StxDw
                StxDwThenLdxB StxDw LdxB
                StxDwThenLdxH StxDw LdxH
                StxDwThenStxB StxDw StxB
                StxDwThenStxH StxDw StxH
                StxDwThenStxW StxDw StxW
                LdxBThenXor64X LdxB Xor64X
                LdxBThenAnd64K LdxB And64K
                LdxBThenAnd64X LdxB And64X
                LdxBThenSub64X LdxB Sub64X
                LdxHThenXor64X LdxH Xor64X
                LdxHThenAnd64K LdxH And64K
                LdxHThenAnd64X LdxH And64X
                LdxHThenSub64X LdxH Sub64X
                LdxWThenXor64X LdxW Xor64X
                LdxWThenAnd64K LdxW And64K
                LdxWThenAnd64X LdxW And64X
                LdxWThenSub64X LdxW Sub64X
                LdxDwThenXor64X LdxDw Xor64X
                LdxDwThenAnd64K LdxDw And64K
                LdxDwThenAnd64X LdxDw And64X
                LdxDwThenSub64X LdxDw Sub64X
                Xor64XThenLdxB Xor64X LdxB
                Xor64XThenLdxH Xor64X LdxH
                Xor64XThenLdxW Xor64X LdxW
                Xor64XThenLdxDw Xor64X LdxDw
                Xor64XThenStxB Xor64X StxB
                Xor64XThenStxH Xor64X StxH
                Xor64XThenStxW Xor64X StxW
                Xor64XThenStxDw Xor64X StxDw
                Or64XThenLdxB Or64X LdxB
                Or64XThenLdxH Or64X LdxH
                Or64XThenLdxW Or64X LdxW
                Or64XThenLdxDw Or64X LdxDw
                Or64XThenStxB Or64X StxB
                Or64XThenStxH Or64X StxH
                Or64XThenStxW Or64X StxW
                Or64XThenStxDw Or64X StxDw
                Sub64XThenLdxB Sub64X LdxB
                Sub64XThenLdxH Sub64X LdxH
                Sub64XThenLdxW Sub64X LdxW
                Sub64XThenLdxDw Sub64X LdxDw
                Sub64XThenStxB Sub64X StxB
                Sub64XThenStxH Sub64X StxH
                Sub64XThenStxW Sub64X StxW
                Sub64XThenStxDw Sub64X StxDw
                Lsh64KThenLdxB Lsh64K LdxB
                Lsh64KThenLdxH Lsh64K LdxH
                Lsh64KThenLdxW Lsh64K LdxW
                Lsh64KThenLdxDw Lsh64K LdxDw
                Lsh64KThenStxB Lsh64K StxB
                Lsh64KThenStxH Lsh64K StxH
                Lsh64KThenStxW Lsh64K StxW
                Lsh64KThenStxDw Lsh64K StxDw
                Mov64KThenCallHelper Mov64K CallHelper
                Mov64XThenCallHelper Mov64X CallHelper
                Mov32KThenCallHelper Mov32K CallHelper
                Add64KThenCallHelper Add64K CallHelper
                LdImm64ThenCallHelper LdImm64 CallHelper
                LdImm64ThenLdxB LdImm64 LdxB
                LdImm64ThenLdxW LdImm64 LdxW
                LdImm64ThenLdxDw LdImm64 LdxDw
                LdImm64ThenMov64X LdImm64 Mov64X
                LdImm64ThenMov64K LdImm64 Mov64K
                Jeq64KThenLdxB Jeq64K LdxB
                Jeq64KThenLdxW Jeq64K LdxW
                Jeq64KThenLdxDw Jeq64K LdxDw
                Jeq64KThenMov64X Jeq64K Mov64X
                Jeq64KThenMov64K Jeq64K Mov64K
                Jne64KThenLdxB Jne64K LdxB
                Jne64KThenLdxW Jne64K LdxW
                Jne64KThenLdxDw Jne64K LdxDw
                Jne64KThenMov64X Jne64K Mov64X
                Jne64KThenMov64K Jne64K Mov64K
                Mov32KThenMov64X Mov32K Mov64X
                Mov32KThenMov64K Mov32K Mov64K
                Mov32KThenExit Mov32K Exit
                Mov32KThenJa Mov32K Ja
                Mov32KThenStxW Mov32K StxW
                Mov64KThenExit Mov64K Exit
                Add32XThenAnd64K Add32X And64K
                Add32XThenAdd32X Add32X Add32X
                Add32XThenXor32X Add32X Xor32X
                Xor32XThenAdd32X Xor32X Add32X
                Lsh32KThenOr32X Lsh32K Or32X
                Mov32XThenLsh32K Mov32X Lsh32K
                Mov32XThenRsh32K Mov32X Rsh32K
                Rsh32KThenOr32X Rsh32K Or32X
                And32KThenJeq32K And32K Jeq32K
                Mov64XThenJeq64X Mov64X Jeq64X
                Mov64XThenJne64X Mov64X Jne64X
                Mov64XThenJgt64X Mov64X Jgt64X
                Mov64XThenJge64X Mov64X Jge64X
                Mov64XThenJlt64X Mov64X Jlt64X
                LdxWThenJeq64X LdxW Jeq64X
                LdxWThenJne64X LdxW Jne64X
                LdxWThenJgt64X LdxW Jgt64X
                LdxWThenJge64X LdxW Jge64X
                LdxWThenJlt64X LdxW Jlt64X
                LdxBThenJeq64X LdxB Jeq64X
                LdxBThenJne64X LdxB Jne64X
                LdxBThenJgt64X LdxB Jgt64X
                LdxBThenJge64X LdxB Jge64X
                LdxBThenJlt64X LdxB Jlt64X
                LdxDwThenJeq64X LdxDw Jeq64X
                LdxDwThenJne64X LdxDw Jne64X
                LdxDwThenJgt64X LdxDw Jgt64X
                LdxDwThenJge64X LdxDw Jge64X
                LdxDwThenJlt64X LdxDw Jlt64X
                And64KThenJeq64X And64K Jeq64X
                And64KThenJne64X And64K Jne64X
                And64KThenJgt64X And64K Jgt64X
                And64KThenJge64X And64K Jge64X
                And64KThenJlt64X And64K Jlt64X
                Mov64KThenJeq64X Mov64K Jeq64X
                Mov64KThenJne64X Mov64K Jne64X
                Mov64KThenJgt64X Mov64K Jgt64X
                Mov64KThenJge64X Mov64K Jge64X
                Mov64KThenJlt64X Mov64K Jlt64X
                CallHelperThenMov64X CallHelper Mov64X
                CallHelperThenMov64K CallHelper Mov64K
                CallHelperThenLdxDw CallHelper LdxDw
                CallHelperThenStxDw CallHelper StxDw
                CallHelperThenStxW CallHelper StxW
                CallHelperThenJeq64K CallHelper Jeq64K
                CallHelperThenJne64K CallHelper Jne64K
                CallHelperThenAdd64X CallHelper Add64X
                CallHelperThenAdd64K CallHelper Add64K
            }
            triples {
                Mov64XThenMov64XThenMov64X Mov64X Mov64X Mov64X
                Mov64XThenMov64XThenMov64K Mov64X Mov64X Mov64K
                Mov64XThenMov64XThenCallHelper Mov64X Mov64X CallHelper
                Mov64XThenMov64KThenMov64X Mov64X Mov64K Mov64X
                Mov64XThenMov64KThenMov64K Mov64X Mov64K Mov64K
                Mov64XThenMov64KThenCallHelper Mov64X Mov64K CallHelper
                Mov64XThenAdd64KThenMov64X Mov64X Add64K Mov64X
                Mov64XThenAdd64KThenMov64K Mov64X Add64K Mov64K
                Mov64XThenAdd64KThenCallHelper Mov64X Add64K CallHelper
                Mov64KThenMov64XThenMov64X Mov64K Mov64X Mov64X
                Mov64KThenMov64XThenMov64K Mov64K Mov64X Mov64K
                Mov64KThenMov64XThenCallHelper Mov64K Mov64X CallHelper
                Mov64KThenMov64KThenMov64X Mov64K Mov64K Mov64X
                Mov64KThenMov64KThenMov64K Mov64K Mov64K Mov64K
                Mov64KThenMov64KThenCallHelper Mov64K Mov64K CallHelper
                Mov64KThenAdd64KThenMov64X Mov64K Add64K Mov64X
                Mov64KThenAdd64KThenMov64K Mov64K Add64K Mov64K
                Mov64KThenAdd64KThenCallHelper Mov64K Add64K CallHelper
                Add64KThenMov64XThenMov64X Add64K Mov64X Mov64X
                Add64KThenMov64XThenMov64K Add64K Mov64X Mov64K
                Add64KThenMov64XThenCallHelper Add64K Mov64X CallHelper
                Add64KThenMov64KThenMov64X Add64K Mov64K Mov64X
                Add64KThenMov64KThenMov64K Add64K Mov64K Mov64K
                Add64KThenMov64KThenCallHelper Add64K Mov64K CallHelper
                LdxWThenAdd64XThenLdxW LdxW Add64X LdxW
                LdxWThenAdd64XThenLdxDw LdxW Add64X LdxDw
                LdxWThenAdd64XThenStxW LdxW Add64X StxW
                LdxWThenAdd64XThenStxDw LdxW Add64X StxDw
                LdxDwThenAdd64XThenLdxW LdxDw Add64X LdxW
                LdxDwThenAdd64XThenLdxDw LdxDw Add64X LdxDw
                LdxDwThenAdd64XThenStxW LdxDw Add64X StxW
                LdxDwThenAdd64XThenStxDw LdxDw Add64X StxDw
                StxWThenAdd64KThenJne64K StxW Add64K Jne64K
                StxDwThenAdd64KThenJne64K StxDw Add64K Jne64K
                LdxWThenAdd64KThenJne64K LdxW Add64K Jne64K
                LdxDwThenAdd64KThenJne64K LdxDw Add64K Jne64K
                Add64XThenAdd64KThenJne64K Add64X Add64K Jne64K
                Mov64XThenAdd64KThenJne64K Mov64X Add64K Jne64K
                LdxWThenLdxWThenLdxW LdxW LdxW LdxW
                LdxDwThenLdxDwThenLdxDw LdxDw LdxDw LdxDw
                StxWThenStxWThenStxW StxW StxW StxW
                StxDwThenStxDwThenStxDw StxDw StxDw StxDw
                CallHelperThenAdd64KThenJne64K CallHelper Add64K Jne64K
                CallHelperThenAdd64XThenAdd64K CallHelper Add64X Add64K
            }
            quads {
                Mov64XThenCallHelperThenAdd64KThenJne64K Mov64X CallHelper Add64K Jne64K
                Mov64KThenCallHelperThenAdd64KThenJne64K Mov64K CallHelper Add64K Jne64K
            }
        }
    };
}
pub(super) use with_uops;

macro_rules! define {
    (
            ops { $($op:ident)* }
            pairs { $($pair:ident $first:ident $second:ident)* }
            triples { $($triple:ident $a:ident $b:ident $c:ident)* }
            quads { $($quad:ident $p:ident $q:ident $r:ident $s:ident)* }
        ) => {
        /// One dispatch of the interpreter.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub(crate) enum Uop {
            $($op,)*
            $($pair,)*
            $($triple,)*
            $($quad,)*
        }

        impl Uop {
            /// A single operation.
            pub(crate) fn single(op: Op) -> Self {
                match op {
                    $(Op::$op => Self::$op,)*
                }
            }

            /// The operation, or the first of a pair.
            pub(crate) fn first(self) -> Op {
                match self {
                    $(Self::$op => Op::$op,)*
                    $(Self::$pair => Op::$first,)*
                    $(Self::$triple => Op::$a,)*
                    $(Self::$quad => Op::$p,)*
                }
            }

            /// Two operations that can go as one.
            fn pair(first: Op, second: Op) -> Option<Self> {
                match (first, second) {
                    $((Op::$first, Op::$second) => Some(Self::$pair),)*
                    _ => None,
                }
            }

            /// Three operations that can go as one.
            fn triple(first: Op, second: Op, third: Op) -> Option<Self> {
                match (first, second, third) {
                    $((Op::$a, Op::$b, Op::$c) => Some(Self::$triple),)*
                    _ => None,
                }
            }

            /// Four operations that can go as one.
            fn quad(first: Op, second: Op, third: Op, fourth: Op) -> Option<Self> {
                match (first, second, third, fourth) {
                    $((Op::$p, Op::$q, Op::$r, Op::$s) => Some(Self::$quad),)*
                    _ => None,
                }
            }
        }
    };
}
with_uops!(define);

/// Puts what can go as one in place. Every operation gets the longest that it begins, so that a jump into the middle of
/// one finds the next.
pub(super) fn fuse(ops: &mut [DecodedOp], kinds: &[Op]) {
    for (at, op) in ops.iter_mut().enumerate() {
        let fused = match kinds.get(at..) {
            Some([a, b, c, d, ..]) => {
                Uop::quad(*a, *b, *c, *d).or_else(|| Uop::triple(*a, *b, *c)).or_else(|| Uop::pair(*a, *b))
            }
            Some([a, b, c]) => Uop::triple(*a, *b, *c).or_else(|| Uop::pair(*a, *b)),
            Some([a, b]) => Uop::pair(*a, *b),
            _ => None,
        };
        if let Some(uop) = fused {
            op.uop = uop;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_on_to_the_next_operation_begins_a_pair() {
        for never in [Op::Exit, Op::Ja, Op::Trap, Op::CallLocal] {
            assert_eq!(Uop::pair(never, Op::Mov64X), None);
        }
    }
}
