#define FAR 20
