// franz-go over listeners; see ../README.md.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const records = 100

func main() {
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	for _, path := range os.Args[2:] {
		file := strings.TrimSuffix(filepath.Base(path), ".properties")
		if err := exchange(path, file, os.Args[1]+"-"+file, ended); err != nil {
			fmt.Printf("failed %s: %v\n", file, err)
		} else {
			fmt.Printf("ok %s\n", file)
		}
	}
}

var quoted = regexp.MustCompile(`(\w+)="(.*?)"`)

// settings says again what a file of Kafka's keys says.
func settings(path string) ([]kgo.Opt, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	kafka := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if key, value, is := strings.Cut(line, "="); is {
			kafka[key] = value
		}
	}
	opts := []kgo.Opt{kgo.SeedBrokers(kafka["bootstrap.servers"]), kgo.AllowAutoTopicCreation()}
	if strings.HasSuffix(kafka["security.protocol"], "SSL") {
		config := &tls.Config{RootCAs: x509.NewCertPool()}
		authority, err := os.ReadFile(kafka["ssl.truststore.location"])
		if err != nil {
			return nil, err
		}
		config.RootCAs.AppendCertsFromPEM(authority)
		if key := kafka["ssl.keystore.location"]; key != "" {
			pair, err := tls.LoadX509KeyPair(key, key)
			if err != nil {
				return nil, err
			}
			config.Certificates = []tls.Certificate{pair}
		}
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	jaas := map[string]string{}
	for _, match := range quoted.FindAllStringSubmatch(kafka["sasl.jaas.config"], -1) {
		jaas[match[1]] = match[2]
	}
	user, password := jaas["username"], jaas["password"]
	switch mechanism := kafka["sasl.mechanism"]; mechanism {
	case "":
	case "PLAIN":
		opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	case "SCRAM-SHA-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
	default:
		return nil, fmt.Errorf("no mechanism %s here", mechanism)
	}
	return opts, nil
}

func exchange(path, file, topic string, ended <-chan struct{}) error {
	opts, err := settings(path)
	if err != nil {
		return err
	}
	sent, err := produce(opts, file, topic, ended)
	if err != nil {
		return err
	}
	return consume(opts, topic, sent)
}

func produce(opts []kgo.Opt, file, topic string, ended <-chan struct{}) (int, error) {
	producer, err := kgo.NewClient(append(opts, kgo.TransactionalID(topic))...)
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	for sent := 0; ; {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.BeginTransaction(); err != nil {
			return sent, err
		}
		batch := make([]*kgo.Record, 0, records)
		for range records {
			value := []byte(strconv.Itoa(sent))
			batch = append(batch, &kgo.Record{Topic: topic, Key: value, Value: value})
			sent++
		}
		if err := producer.ProduceSync(ctx, batch...).FirstErr(); err != nil {
			return sent, err
		}
		if err := producer.EndTransaction(ctx, kgo.TryCommit); err != nil {
			return sent, err
		}
		if sent == records {
			fmt.Printf("producing %s\n", file)
		}
		select {
		case <-ended:
			return sent, nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func consume(opts []kgo.Opt, topic string, sent int) error {
	consumer, err := kgo.NewClient(append(opts,
		kgo.ConsumerGroup(topic),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit())...)
	if err != nil {
		return err
	}
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	seen := map[string]bool{}
	for len(seen) < sent {
		fetches := consumer.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("read %d of %d records: %w", len(seen), sent, errs[0].Err)
		}
		fetches.EachRecord(func(record *kgo.Record) { seen[string(record.Value)] = true })
	}
	return consumer.CommitUncommittedOffsets(ctx)
}
