// The bank's client on franz-go; see ../README.md.
package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	bootstrap, name := os.Args[1], os.Args[2]
	partition, partitions, accounts := number(os.Args[3]), number(os.Args[4]), number(os.Args[5])
	prefix := fmt.Sprintf("%s-%x-", name, time.Now().UnixNano()^int64(os.Getpid()))
	var client *kgo.Client
	for n := 0; ; n++ {
		aborts := rand.Intn(10) == 0
		id := prefix + strconv.Itoa(n)
		if aborts {
			id += "-aborted"
		}
		if client == nil {
			client = open(bootstrap, name)
		}
		if err := transfer(client, id, aborts, partition, partitions, accounts); err != nil {
			// Whether the transaction has ended is unknown: a new client fences this one, which ends it.
			fmt.Printf("failed %s: %v\n", id, err)
			client.Close()
			client = nil
			time.Sleep(100 * time.Millisecond)
		} else if !aborts {
			fmt.Printf("committed %s\n", id)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

func open(bootstrap, name string) *kgo.Client {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.TransactionalID("bank-"+name),
		kgo.TransactionTimeout(10*time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
	)
	if err != nil {
		panic(err)
	}
	return client
}

func transfer(client *kgo.Client, id string, aborts bool, partition, partitions, accounts int) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	from := rand.Intn(accounts)
	to := (from + 1 + rand.Intn(accounts-1)) % accounts
	amount := 1 + rand.Intn(100)
	var records []*kgo.Record
	for account, change := range map[int]int{from: -amount, to: amount} {
		value := []byte(fmt.Sprintf("%d:%d", account, change))
		records = append(records,
			&kgo.Record{Topic: "ledger", Partition: int32(partition), Key: []byte(id), Value: value},
			&kgo.Record{Topic: "accounts", Partition: int32(account % partitions), Key: []byte(id), Value: value})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	return client.EndTransaction(ctx, kgo.TransactionEndTry(!aborts))
}
